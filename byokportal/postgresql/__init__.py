"""PostgreSQL as Django knows it, with one thing more: where a budget is set, no query waits beyond it."""
