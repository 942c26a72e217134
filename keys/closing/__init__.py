"""The end of an organisation's keys: what forbids it, what is destroyed, where copies are, and the receipts for it."""
