"""The support app's part of the API."""
