"""What the home page of an organisation shows of its key over time: when it did not serve, and what it costs in AWS."""
