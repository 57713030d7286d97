"""The runtime code of the saga: one module a function, and what they share."""
