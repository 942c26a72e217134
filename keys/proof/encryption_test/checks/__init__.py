"""The checks of the encryption test, by what they ask about; pure functions over the facts of one look at AWS."""
