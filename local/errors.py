"""What a person meets when something foreseeable goes wrong: one line that says what to do."""


class LocalError(Exception):
    """A foreseeable mistake or failure; its text is the whole message, the remedy included."""
