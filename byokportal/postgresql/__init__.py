"""PostgreSQL as Django knows it, with one thing more: where a deadline is set, no query waits beyond it."""
