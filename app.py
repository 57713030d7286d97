"""The CDK app: the stage from the context (``-c stage=dev``) becomes one stack.

Every synthesis is checked by cdk-nag's AwsSolutions rules; a finding that is not acknowledged in the code fails it.
"""

import sys
from dataclasses import replace

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from saga_stack.settings import STAGES
from saga_stack.stack import OrderSagaStack

DEFAULT_STAGE = "dev"


def main() -> None:
    """Synthesize the stack of the stage asked for; an unknown stage ends in one line and exit status 2.

    ``-c alert_email=ADDRESS`` adds a subscriber to the alarms.
    """
    app = App()
    stage = app.node.try_get_context("stage") or DEFAULT_STAGE
    if stage not in STAGES:
        print(f"error: unknown stage {stage!r}: use -c stage=NAME with one of {', '.join(STAGES)}", file=sys.stderr)
        sys.exit(2)
    settings = replace(STAGES[stage], alert_email=app.node.try_get_context("alert_email"))
    OrderSagaStack(app, f"OrderSaga-{stage}", settings=settings)
    Validations.of(app).add_plugins(AwsSolutionsChecks())
    app.synth()


if __name__ == "__main__":
    main()
