"""The CDK app of the parcel saga. Its context is ``stage``, ``alert_email`` and ``answer_within`` in seconds."""

from aws_cdk import CfnOutput
from aws_cdk import aws_lambda as lambda_

from saga_stack.construct.app import synthesize_saga
from saga_stack.construct.stack import SagaStack


def expose(stack: SagaStack) -> None:
    """Give the receiver a URL for the carrier, which has no AWS credentials: the function checks its signature."""
    url = stack.functions["receive_answer"].add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
    CfnOutput(stack, "AnswerUrl", value=url.url)


if __name__ == "__main__":
    synthesize_saga(__file__, extend=expose)
