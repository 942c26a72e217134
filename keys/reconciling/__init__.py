"""Compares what a tenant's CloudTrail shows with the calls that we made: pure functions over values."""
