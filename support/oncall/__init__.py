"""Who of ours is called when our own side is broken: one page for each incident, and what we do about it."""
