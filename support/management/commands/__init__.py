"""Commands of the support app."""
