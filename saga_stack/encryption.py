"""The key of a stage that has one of its own."""

from collections.abc import Mapping, Sequence

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

# Without the wildcards of the usual grants: what encrypting and decrypting take, and nothing that rules the key.
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
    """A customer managed key, rotated every year, for all that the stack keeps.

    Its policy names the four services that use it by themselves; roles get theirs where they are made. ``key`` is a
    reference, so that no construct widens the policy by the CDK's own grants, which hold wildcards.
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
        self._let_services_use_it()
        self.key: kms.IKey = kms.Key.from_key_arn(self, "Reference", self._key.key_arn)

    def _let_services_use_it(self) -> None:
        """Sources: the developer guides of CloudWatch Logs, EventBridge, SNS and Step Functions on encryption."""
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
        # Neither guide says that these two send the account, so a condition on it could silence alarms or logs.
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


def may_use_through(role: iam.IRole, key: kms.IKey | None, service: str, actions: Sequence[str] = USE) -> None:
    """Let the role use the key, if there is one, through the service (such as ``dynamodb``) alone."""
    _may_use(role, key, actions, {"kms:ViaService": f"{service}.{Stack.of(role).region}.amazonaws.com"})


def may_use_for(role: iam.IRole, key: kms.IKey | None, state_machine_arn: str, actions: Sequence[str]) -> None:
    """Let the role use the key, if there is one, for the data of the state machine alone."""
    _may_use(role, key, actions, {"kms:EncryptionContext:aws:states:stateMachineArn": state_machine_arn})


def may_encrypt_log_deliveries(role: iam.IRole, key: kms.IKey | None) -> None:
    """Let the role use the key, if there is one, for what it hands to the delivery of logs.

    Source: AWS Step Functions Developer Guide, "Data at rest encryption".
    """
    source = Stack.of(role).format_arn(service="logs", resource="*")
    _may_use(role, key, ("kms:GenerateDataKey",), {"kms:EncryptionContext:SourceArn": source})


def _may_use(role: iam.IRole, key: kms.IKey | None, actions: Sequence[str], equal: Mapping[str, str]) -> None:
    if key is not None:
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(actions), resources=[key.key_arn], conditions={"StringEquals": dict(equal)}
            )
        )
