"""How we know that a set-up is right: what a person pasted, what AWS answered, and the encryption test."""
