"""The tenants app's part of the API."""
