"""The names that a saga gives to its stack and functions, and the rules for them.

It imports nothing of the CDK, so that ``make new`` applies the rules before it writes anything.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from lambdas.saga_runtime.names import secret_output, state_name
from saga_stack.construct.steps import InvalidSagaError

MAX_FUNCTION_NAME = 64  # AWS Lambda API Reference, CreateFunction
MAX_STATE_MACHINE_NAME = 80  # Step Functions API Reference, CreateStateMachine
# The functions that the library adds to a stack.
LIBRARY_FUNCTIONS = ("report_stuck_saga", "redrive_stuck_sagas", "publish_outcome")
# The parts and the outputs of a stack, whose ids no state machine and no secret can have. tests/infrastructure compares
# them with a stack that has all of them.
PARTS = frozenset(
    {
        *("Encryption", "Table", "Functions", "Saga", "StuckSagas", "AutomaticRedrives", "Monitoring", "Api"),
        *("Outcomes", "ExampleSubscriber", "StateMachineArn", "TableName", "StuckSagasQueueUrl"),
        *("StuckSagasTableName", "ReceiverName"),
        # The CDK's own.
        *("BootstrapVersion", "CheckBootstrapVersion", "CDKMetadata"),
    }
)


def require_names(
    stack: str, *, state_machine: str, functions: Sequence[str], secrets: Iterable[str] = (), others: Iterable[str] = ()
) -> None:
    """Raise InvalidSagaError if a name is too long for AWS, or if two parts of the stack would have one name.

    Args:
        stack: the name of the stack, with the stage.
        state_machine: the end of the state machine's name, after the name of the stack.
        functions: the functions of the steps and the receiver.
        secrets: the environment variables with secrets. Default: none.
        others: further functions, such as those of the API. Default: none.
    """
    library = (*LIBRARY_FUNCTIONS, *others)
    for function in functions:
        if function in library:
            raise InvalidSagaError(f"{function} is also a function that the library adds: choose another name")
    for function in (*functions, *library):
        _require_length("function", f"{stack}-{function}", MAX_FUNCTION_NAME)
    _require_length("state machine", f"{stack}-{state_machine}", MAX_STATE_MACHINE_NAME)
    ids = [(state_machine, "state machine")]
    ids += [(id_, f"secret {name}") for name in secrets for id_ in (state_name(name), secret_output(name))]
    count = Counter(id_ for id_, _ in ids)
    for id_, owner in ids:
        if id_ in PARTS or count[id_] > 1:
            raise InvalidSagaError(
                f"the {owner} would have the id {id_}, like another part of the stack: choose another name"
            )


def _require_length(what: str, name: str, longest: int) -> None:
    if len(name) > longest:
        raise InvalidSagaError(
            f"the {what} {name} has {len(name)} characters: AWS allows {longest}, so choose a shorter name"
        )
