"""The infrastructure: the saga library in ``construct``, and the order saga that uses it."""
