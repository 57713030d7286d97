"""The client of the provider."""
