"""A saga in a folder of its own: every name derives from the folder, the schema and the list of steps.

It imports nothing of the CDK, so that programs can read a saga without Node.js.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from lambdas.saga_runtime.names import fail_state, state_name
from saga_stack.construct.edges import ApiSettings, EventSettings
from saga_stack.construct.steps import StepOrGroup


def root_of(file: str) -> Path:
    """Return the folder from which Python imports a file: the first one above it that is not a package."""
    return next(parent for parent in Path(file).parents if not (parent / "__init__.py").exists())


def module_of(file: str) -> str:
    """Return the name of the module that a file is."""
    return ".".join(Path(file).relative_to(root_of(file)).with_suffix("").parts)


class InputSchema(Protocol):
    """The input of a saga; ``lambdas.saga_runtime.steps.Schema`` is one."""

    @property
    def noun(self) -> str:
        """What the input is called, such as ``booking``."""
        ...

    @property
    def key(self) -> str:
        """The field that identifies it."""
        ...

    @property
    def sensitive(self) -> tuple[str, ...]:
        """The fields that never appear in a report."""
        ...


@dataclass(frozen=True, kw_only=True)
class Saga:
    """A saga whose names derive from its folder.

    ``trip_booking/`` becomes the stack ``TripBookingSaga-<stage>`` with the state machine ``TripBooking``. Its
    functions are in ``trip_booking/lambdas/handlers.py``, its inputs for the demo in ``trip_booking/scenarios``.

    Args:
        file: ``__file__`` of the module in the saga's folder that makes this object.
        description: the description of the stack.
        schema: the input. The partition key is its ``key``, the Fail state has its ``noun``.
        steps: the steps in order.
        settings: environment variables of the functions with their default values. The context ``provider_url``
            replaces the default of ``PROVIDER_URL``. Not for secrets. Default: none.
        secrets: environment variables with the ARNs of secrets, each with the names of the functions that may read it
            (lambdas/saga_runtime/own_secrets.py). Default: none.
        name: what the name of the stack begins with. Default: from the folder.
        receiver: the name of the function that receives the answers to the steps that wait. The context
            ``answer_within`` replaces their timeouts, in seconds. Default: none, no step waits.
        api: adds the HTTP API, which follows the row of the first step. Default: none.
        events: adds the events, best those that ``events_of`` makes. Default: none.
    """

    file: str
    description: str
    schema: InputSchema
    steps: Sequence[StepOrGroup]
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    secrets: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    name: str = ""
    receiver: str | None = None
    api: ApiSettings | None = None
    events: EventSettings | None = None

    @property
    def folder(self) -> Path:
        """The folder of the saga."""
        return Path(self.file).parent

    @property
    def root(self) -> Path:
        """The folder from which Python imports the saga: the first one that is not a package."""
        return root_of(self.file)

    @property
    def module(self) -> str:
        """The name of the module that makes this object."""
        return module_of(self.file)

    @property
    def functions(self) -> str:
        """The folder of the functions, from ``root``."""
        return f"{self.folder.relative_to(self.root).as_posix()}/lambdas"

    @property
    def handler(self) -> str:
        """The path of a function in the asset, with ``{}`` for its name."""
        return f"{self.functions.replace('/', '.')}.handlers.{{}}"

    @property
    def stack(self) -> str:
        """The name of the stack without the stage."""
        return self.name or f"{self.state_machine}Saga"

    @property
    def state_machine(self) -> str:
        """The end of the state machine's name."""
        return state_name(self.folder.name)

    @property
    def failed(self) -> str:
        """The name of the Fail state, and its error."""
        return fail_state(self.schema.noun)
