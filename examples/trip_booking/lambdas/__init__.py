"""The functions of the trip saga."""
