"""The CDK app of the parcel saga. Its context is ``stage``, ``alert_email`` and ``answer_within`` in seconds."""

from collections.abc import Sequence
from datetime import timedelta

from aws_cdk import CfnOutput
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from examples.parcel_pickup.lambdas.parcel_steps import SCHEMA
from saga_stack.construct.app import synthesize
from saga_stack.construct.nag import acknowledge
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Callback, Retriable, Step, StepOrGroup

TWO_DAYS = timedelta(days=2)
RECEIVER = "receive_answer"


def steps(answer_within: timedelta = TWO_DAYS) -> Sequence[StepOrGroup]:
    """Return the steps of the saga. The carrier has so long to answer."""
    return (
        Step(action="reserve_goods", compensation="release_goods"),
        Step(action="request_pickup", compensation="cancel_pickup", callback=Callback(timeout=answer_within)),
        Retriable(action="print_label"),
    )


STEPS = steps()


class ParcelSagaStack(SagaStack):
    """The parcel saga of one stage. Two more outputs, AnswerUrl and AnswerSecret, are for the carrier."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        seconds = scope.node.try_get_context("answer_within")
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="Sends a parcel as a saga: goods, a pickup that the carrier confirms, a label, or nothing",
            steps=steps(timedelta(seconds=int(seconds)) if seconds else TWO_DAYS),
            state_machine="ParcelPickup",
            partition_key=SCHEMA.key,
            sensitive_fields=SCHEMA.sensitive,
            failed="ParcelFailed",
            packages=("examples/parcel_pickup/lambdas",),
            handler="examples.parcel_pickup.lambdas.handlers.{}",
            receiver=RECEIVER,
        )
        self._expose(self.functions[RECEIVER])

    def _expose(self, receiver: lambda_.Function) -> None:
        """Give the function a URL for the carrier, and the secret by which it knows the carrier."""
        secret = secretsmanager.Secret(
            self,
            "WebhookSecret",
            description="Signs the answers of the carrier",
            generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=64),
        )
        acknowledge(
            secret, finding="AwsSolutions-SMG4", reason="the carrier has a copy, so both sides rotate it together"
        )
        # `Ref` gives the ARN on AWS only, not on the local cloud; `Id` gives it on both.
        resource = secret.node.default_child
        assert isinstance(resource, secretsmanager.CfnSecret)  # noqa: S101 (the construct makes one)
        arn = resource.attr_id
        receiver.add_environment("WEBHOOK_SECRET", arn)
        receiver.add_to_role_policy(iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn]))
        # The carrier has no AWS credentials; the function checks the signature itself.
        url = receiver.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
        CfnOutput(self, "AnswerUrl", value=url.url)
        CfnOutput(self, "AnswerSecret", value=arn)


if __name__ == "__main__":
    synthesize(ParcelSagaStack, "ParcelSaga")
