"""Portal pages of the tenants app, one module for each page or two that belong together."""
