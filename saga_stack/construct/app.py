"""The CDK app of a saga: the stage in the context becomes one stack.

cdk-nag's AwsSolutions rules check every synthesis. A finding that the code does not acknowledge fails it.
"""

import sys
from dataclasses import replace
from typing import NoReturn, Protocol

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from saga_stack.construct.stages import STAGES, Stage
from saga_stack.construct.steps import InvalidSagaError

DEFAULT_STAGE = "dev"


class StackOfStage(Protocol):
    """Makes the stack of one stage; a subclass of SagaStack does."""

    def __call__(self, scope: Construct, id_: str, *, stage: Stage) -> Stack:
        """Make the stack under ``scope``."""
        ...


def synthesize(stack: StackOfStage, name: str) -> None:
    """Synthesize the stack ``<name>-<stage>``.

    An unknown stage, or steps that do not form a saga, print one line and exit with status 2.

    Args:
        stack: makes the stack.
        name: what the name of the stack begins with.
    """
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        _exit(f"invalid stage {stage!r}: use -c stage=NAME with {' or '.join(STAGES)}")
    try:
        email = app.node.try_get_context("alert_email")
        stack(app, f"{name}-{stage}", stage=replace(STAGES[stage], alert_email=email))
    except InvalidSagaError as error:
        _exit(str(error))
    Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


def _exit(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
