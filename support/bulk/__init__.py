"""One operation on many tenants: its rows."""
