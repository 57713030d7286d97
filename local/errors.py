"""The error of the local cloud and the demo."""


class LocalError(Exception):
    """A foreseeable failure. Its text is one line: what is wrong, where, and what to do."""
