"""A payment provider that charges at once and cancels by key, for a new saga whose step has ``@``."""
