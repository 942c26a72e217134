"""The back office: tickets, the Django admin, and what follows from the log."""
