"""The keys app's part of the API."""
