"""A saga for tests with an HTTP API and events that is not the order saga."""
