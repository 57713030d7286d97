"""What a person meets when something foreseeable goes wrong."""


class BenchmarkError(Exception):
    """A foreseeable mistake or failure; its text is the whole message, the remedy included."""
