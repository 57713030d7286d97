"""The infrastructure of any saga, and of the order saga."""
