"""The CDK app of a saga: the stage in the context becomes one stack.

cdk-nag's AwsSolutions rules check every synthesis. A finding that the code does not acknowledge fails it.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn, Protocol

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from saga_stack.construct.checks import import_saga, require_functions, require_own_stack, require_scenarios
from saga_stack.construct.saga import Saga
from saga_stack.construct.stack import FolderSagaStack, SagaStack
from saga_stack.construct.stages import STAGES, Stage
from saga_stack.construct.steps import InvalidSagaError

DEFAULT_STAGE = "dev"


class StackOfStage(Protocol):
    """Makes the stack of one stage; a subclass of SagaStack does."""

    def __call__(self, scope: Construct, id_: str, *, stage: Stage) -> Stack:
        """Make the stack under ``scope``."""
        ...


def synthesize(stack: StackOfStage, name: str, *, extend: Callable[[SagaStack], None] | None = None) -> None:
    """Synthesize the stack ``<name>-<stage>``.

    An unknown stage, steps that do not form a saga, or functions that cannot be imported print one line and exit with
    status 2.

    Args:
        stack: makes the stack.
        name: what the name of the stack begins with.
        extend: adds to the stack of a saga, such as permissions of its functions. Default: nothing.
    """
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        _exit(f"invalid stage {stage!r}: use -c stage=NAME with {' or '.join(STAGES)}")
    try:
        email = app.node.try_get_context("alert_email")
        made = stack(app, f"{name}-{stage}", stage=replace(STAGES[stage], alert_email=email))
        if isinstance(made, SagaStack):
            require_functions(made.steps, made.handlers, made.source, made.settings)
            if extend:
                extend(made)
    except InvalidSagaError as error:
        _exit(str(error))
    Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


def synthesize_saga(file: str, *, extend: Callable[[SagaStack], None] | None = None) -> None:
    """Synthesize the stack of a saga in a folder of its own; exits as ``synthesize`` does.

    Args:
        file: ``__file__`` of a module beside ``saga.py``, which defines ``SAGA``.
        extend: adds to the stack, such as permissions of its functions. Default: nothing.
    """
    try:
        saga = import_saga(file)
        require_scenarios(saga)
        require_own_stack(saga)
    except InvalidSagaError as error:
        _exit(str(error))
    synthesize(functools.partial(_stack_of, saga), saga.stack, extend=extend)


def _stack_of(saga: Saga, scope: Construct, id_: str, *, stage: Stage) -> Stack:
    """Make the stack; an error of its steps names the file that they are in."""
    try:
        return FolderSagaStack(scope, id_, stage=stage, saga=saga)
    except InvalidSagaError as error:
        raise InvalidSagaError(f"{Path(saga.file).relative_to(saga.root)}: {error}") from None


def _exit(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
