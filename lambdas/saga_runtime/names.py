"""The names that the functions and the state machine derive in the same way."""


def state_name(function: str) -> str:
    """Return the name of the state that calls the function: ``book_room`` -> ``BookRoom``."""
    return "".join(word.capitalize() for word in function.split("_"))


def fail_state(noun: str) -> str:
    """Return the name of the Fail state, which is its error too, of a saga by the noun of its input."""
    return f"{state_name(noun)}Failed"


def secret_output(variable: str) -> str:
    """Return the name of the output with the ARN of a secret: ``PROVIDER_KEY`` -> ``ProviderKeyArn``."""
    return f"{state_name(variable)}Arn"
