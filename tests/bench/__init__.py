"""Benchmarks: `make bench` runs each module here and prints a table; no test waits for a number."""
