"""Policies: what the customer pastes, who may do what, and a reading of theirs; pure."""
