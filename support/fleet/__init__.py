"""What the back office knows of all tenants at once: their rows, figures, heartbeats, and how one is found."""
