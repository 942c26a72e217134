"""Who the customer is, who may act for it, where it stands in the six steps, and the log."""
