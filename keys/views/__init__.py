"""Entry points for people: the portal pages of the keys app, one module for each part of it."""
