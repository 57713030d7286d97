"""The CDK app: the stage from the context (``-c stage=dev``) becomes one stack."""

import sys

from aws_cdk import App

from saga_stack.settings import STAGES
from saga_stack.stack import OrderSagaStack

DEFAULT_STAGE = "dev"


def main() -> None:
    """Synthesize the stack of the stage asked for; an unknown stage ends in one line and exit status 2."""
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        print(f"error: unknown stage {stage!r}: use -c stage=NAME with one of {', '.join(STAGES)}", file=sys.stderr)
        sys.exit(2)
    OrderSagaStack(app, f"OrderSaga-{stage}", settings=STAGES[stage])
    app.synth()


if __name__ == "__main__":
    main()
