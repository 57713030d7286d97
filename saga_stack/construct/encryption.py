"""The customer managed key of a stage."""

from collections.abc import Mapping, Sequence

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

# What encrypting and decrypting take, without the wildcards of the CDK's grants, and nothing that administers the key.
USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)
SEND = ("kms:Decrypt", "kms:GenerateDataKey")


class EncryptionKey(Construct):
    """A customer managed key, rotated every year, for all data that the stack stores.

    Its policy lets the four services use it that need it without a role. Roles receive their permissions where they
    are made. ``key`` is a reference, so that the CDK's own grants, which have wildcards, cannot widen the policy.

    Args:
        removal_policy: what happens to the key when the stack is deleted.
    """

    def __init__(self, scope: Construct, id_: str, *, removal_policy: RemovalPolicy) -> None:
        super().__init__(scope, id_)
        self._stack = Stack.of(self)
        self._key = kms.Key(
            self,
            "Key",
            description=f"Table, queues, logs, topic and state machine of {self._stack.stack_name}",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        self._allow_services()
        self.key: kms.IKey = kms.Key.from_key_arn(self, "Reference", self._key.key_arn)

    def _allow_services(self) -> None:
        """Allow the services that the guides of CloudWatch Logs, EventBridge, SNS and Step Functions name."""
        stack = self._stack
        log_groups = [
            stack.format_arn(
                service="logs",
                resource="log-group",
                resource_name=f"{prefix}/{stack.stack_name}-*",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            for prefix in ("/aws/lambda", "/aws/vendedlogs/states")
        ]
        self._allow(
            f"logs.{stack.region}.amazonaws.com", USE, {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}}
        )
        self._allow("events.amazonaws.com", SEND, {"StringEquals": {"aws:SourceAccount": stack.account}})
        # The guides do not say that these two send the account, so a condition on it could silence alarms or logs.
        self._allow("cloudwatch.amazonaws.com", SEND, {})
        self._allow("delivery.logs.amazonaws.com", ("kms:Decrypt",), {})

    def _allow(self, service: str, actions: Sequence[str], conditions: Mapping[str, object]) -> None:
        self._key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(service)],
                actions=list(actions),
                resources=["*"],  # in the policy of a key: that key
                conditions=dict(conditions),
            )
        )


def allow_key_through(role: iam.IRole, key: kms.IKey | None, service: str, actions: Sequence[str] = USE) -> None:
    """Allow the role to use the key, if there is one, through one service only, such as ``dynamodb``."""
    _allow_key(role, key, actions, {"kms:ViaService": f"{service}.{Stack.of(role).region}.amazonaws.com"})


def allow_key_for(role: iam.IRole, key: kms.IKey | None, state_machine_arn: str, actions: Sequence[str]) -> None:
    """Allow the role to use the key, if there is one, for the data of one state machine only."""
    _allow_key(role, key, actions, {"kms:EncryptionContext:aws:states:stateMachineArn": state_machine_arn})


def allow_key_for_log_delivery(role: iam.IRole, key: kms.IKey | None) -> None:
    """Allow the role to use the key, if there is one, for the delivery of logs.

    Source: AWS Step Functions Developer Guide, "Data at rest encryption".
    """
    source = Stack.of(role).format_arn(service="logs", resource="*")
    _allow_key(role, key, ("kms:GenerateDataKey",), {"kms:EncryptionContext:SourceArn": source})


def _allow_key(role: iam.IRole, key: kms.IKey | None, actions: Sequence[str], equal: Mapping[str, str]) -> None:
    if key is not None:
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(actions), resources=[key.key_arn], conditions={"StringEquals": dict(equal)}
            )
        )
