"""The runtime half of the saga library: the code that runs in Lambda. It knows no saga by name."""
