"""Webhooks: where an organisation wants to hear of its events, what is sent there, and the sending."""
