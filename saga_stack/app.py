"""What a CDK app of this project does, whatever its saga: the stage from the context becomes one stack.

Every synthesis is checked by cdk-nag's AwsSolutions rules; a finding that is not acknowledged in the code fails it.
"""

import sys
from dataclasses import replace
from typing import Protocol

from aws_cdk import App, Stack, Validations
from cdk_nag import AwsSolutionsChecks
from constructs import Construct

from saga_stack.settings import STAGES, Settings
from saga_stack.steps import InvalidSagaError

DEFAULT_STAGE = "dev"


class StackOfStage(Protocol):
    """Makes the stack of one stage, such as a subclass of SagaStack."""

    def __call__(self, scope: Construct, id_: str, *, settings: Settings) -> Stack:
        """Make it under ``scope``."""
        ...


def synthesize(stack: StackOfStage, name: str) -> None:
    """Synthesize ``<name>-<stage>``; an unknown stage, or steps that are no saga, end in one line and exit status 2.

    ``-c alert_email=ADDRESS`` adds a subscriber to the alarms.
    """
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        _refuse(f"unknown stage {stage!r}: use -c stage=NAME with one of {', '.join(STAGES)}")
    settings = replace(STAGES[stage], alert_email=app.node.try_get_context("alert_email"))
    try:
        stack(app, f"{name}-{stage}", settings=settings)
    except InvalidSagaError as error:
        _refuse(str(error))
    Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


def _refuse(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)
