"""The project: composition root above the apps, error vocabulary below them; it holds no domain."""
