"""One test as people read it: the chain, the order in which to correct things, the rows, runs side by side; pure."""
