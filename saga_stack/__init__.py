"""The infrastructure of the order saga."""
