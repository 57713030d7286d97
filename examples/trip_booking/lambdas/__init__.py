"""The runtime code of the trip saga, on what ``lambdas.shared`` offers to any saga."""
