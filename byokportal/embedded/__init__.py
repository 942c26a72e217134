"""`make run` and `make demo`: everything that the system needs, on one machine, under one supervisor;
it imports no app."""
