"""The CDK app of a saga: the stage in the context becomes one stack.

cdk-nag's AwsSolutions rules check every synthesis. A finding that the code does not acknowledge fails it.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from saga_stack.construct.checks import (
    import_by_name,
    import_saga,
    require_functions,
    require_own_stack,
    require_scenarios,
)
from saga_stack.construct.saga import root_of
from saga_stack.construct.stack import FolderSagaStack, SagaStack
from saga_stack.construct.stages import STAGES, Stage
from saga_stack.construct.steps import InvalidContextError, InvalidSagaError

DEFAULT_STAGE = "dev"


class StackOfStage(Protocol):
    """Makes the stack of one stage; a subclass of SagaStack does."""

    def __call__(self, scope: Construct, id_: str, *, stage: Stage) -> Stack:
        """Make the stack under ``scope``."""
        ...


def synthesize(stack: StackOfStage | str, name: str, *, extend: Callable[[SagaStack], None] | None = None) -> None:
    """Synthesize the stack ``<name>-<stage>``.

    An unknown stage, steps that do not form a saga, or functions that cannot be imported print one line and exit with
    status 2.

    Args:
        stack: the class of the stack by its name, such as ``shop.stack.TripStack``. It is imported here, so that a
            mistake in its module is one line too. Or a class or a function that makes the stack.
        name: what the name of the stack begins with.
        extend: adds to the stack of a saga, such as permissions of its functions. Default: nothing.
    """
    with _mistakes_in_one_line():
        make: StackOfStage = import_by_name(stack) if isinstance(stack, str) else stack
        _synthesize(make, inspect.getfile(make), name, extend)


def synthesize_saga(file: str, *, extend: Callable[[SagaStack], None] | None = None) -> None:
    """Synthesize the stack of a saga in a folder of its own; exits as ``synthesize`` does.

    Args:
        file: ``__file__`` of a module beside ``saga.py``, which defines ``SAGA``.
        extend: adds to the stack, such as permissions of its functions. Default: nothing.
    """
    with _mistakes_in_one_line():
        saga = import_saga(file)
        require_scenarios(saga)
        require_own_stack(saga)
        _synthesize(functools.partial(FolderSagaStack, saga=saga), saga.file, saga.stack, extend)


def _synthesize(make: StackOfStage, file: str, name: str, extend: Callable[[SagaStack], None] | None) -> None:
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        raise InvalidContextError(f"invalid stage {stage!r}: use -c stage=NAME with {' or '.join(STAGES)}")
    email = app.node.try_get_context("alert_email")
    try:
        made = make(app, f"{name}-{stage}", stage=replace(STAGES[stage], alert_email=email))
    except InvalidContextError:
        raise
    except InvalidSagaError as error:
        raise InvalidSagaError(f"{Path(file).relative_to(root_of(file))}: {error}") from None
    if isinstance(made, SagaStack):
        require_functions(made.steps, made.handlers, made.source, made.settings)
        if extend:
            extend(made)
    Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


@contextmanager
def _mistakes_in_one_line() -> Iterator[None]:
    try:
        yield
    except InvalidSagaError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
