"""The functions of the ticket saga."""
