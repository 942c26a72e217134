"""The customer's key: proof, custody, loss."""
