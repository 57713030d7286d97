"""The CDK app of the parcel saga. Its context is ``stage``, ``alert_email`` and ``answer_within`` in seconds."""

from aws_cdk import CfnOutput
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager

from saga_stack.construct.app import synthesize_saga
from saga_stack.construct.nag import acknowledge
from saga_stack.construct.stack import SagaStack


def expose(stack: SagaStack) -> None:
    """Give the receiver a URL for the carrier, and the secret by which it knows the carrier."""
    receiver = stack.functions["receive_answer"]
    secret = secretsmanager.Secret(
        stack,
        "WebhookSecret",
        description="Signs the answers of the carrier",
        generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=64),
    )
    acknowledge(secret, finding="AwsSolutions-SMG4", reason="the carrier has a copy, so both sides rotate it together")
    # `Ref` gives the ARN on AWS only, not on the local cloud; `Id` gives it on both.
    resource = secret.node.default_child
    assert isinstance(resource, secretsmanager.CfnSecret)  # noqa: S101 (the construct makes one)
    arn = resource.attr_id
    receiver.add_environment("WEBHOOK_SECRET", arn)
    receiver.add_to_role_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn]))
    # The carrier has no AWS credentials; the function checks the signature itself.
    url = receiver.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
    CfnOutput(stack, "AnswerUrl", value=url.url)
    CfnOutput(stack, "AnswerSecret", value=arn)


if __name__ == "__main__":
    synthesize_saga(__file__, extend=expose)
