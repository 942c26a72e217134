"""A local AWS that enforces what the guide configures: moto behind a gate of ours (design.md 7); no app imports it."""
