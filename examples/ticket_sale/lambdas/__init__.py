"""The runtime code of the ticket saga, on what ``lambdas.shared`` offers to any saga."""
