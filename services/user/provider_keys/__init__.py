"""Provider keys: the keys of accounts at external providers."""
