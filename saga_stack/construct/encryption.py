"""The customer managed key of a stage: it encrypts the table and the logs.

It does not encrypt executions, stuck sagas and alerts. If the key is disabled, functions fail and sagas get stuck; the
alerts must arrive all the same. And the events of executions that are encrypted with a customer managed key omit the
error, so every rolled-back saga would have to be looked up (docs/adr/0017).
"""

from collections.abc import Sequence

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
# What reading a table or its stream takes, as in the CDK's grants for reading.
READ = ("kms:Decrypt", "kms:DescribeKey")


class EncryptionKey(Construct):
    """A customer managed key, rotated every year.

    Its policy lets CloudWatch Logs use it for the log groups of the stack. Roles receive their permissions where they
    are made. ``key`` is a reference, so that the CDK's own grants, which have wildcards, cannot widen the policy.

    Args:
        removal_policy: what happens to the key when the stack is deleted.
        log_prefixes: what further log groups begin with. Default: none.
    """

    def __init__(
        self, scope: Construct, id_: str, *, removal_policy: RemovalPolicy, log_prefixes: Sequence[str] = ()
    ) -> None:
        super().__init__(scope, id_)
        stack = Stack.of(self)
        key = kms.Key(
            self,
            "Key",
            description=f"Table and logs of {stack.stack_name}",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        log_groups = [
            stack.format_arn(
                service="logs",
                resource="log-group",
                resource_name=f"{prefix}/{stack.stack_name}-*",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            )
            for prefix in ("/aws/lambda", "/aws/vendedlogs/states", *log_prefixes)
        ]
        # Source: CloudWatch Logs User Guide, "Encrypt log data in CloudWatch Logs using AWS KMS".
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=list(USE),
                resources=["*"],  # in the policy of a key: that key
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": log_groups}},
            )
        )
        self.key: kms.IKey = kms.Key.from_key_arn(self, "Reference", key.key_arn)


def allow_key_for_table(role: iam.IRole, key: kms.IKey | None) -> None:
    """Allow the role to use the key, if there is one, through DynamoDB only."""
    _allow_key(role, key, "dynamodb", USE)


def allow_key_for_reading(role: iam.IRole, key: kms.IKey | None) -> None:
    """Allow the role to decrypt with the key, if there is one, through DynamoDB only."""
    _allow_key(role, key, "dynamodb", READ)


def allow_key_for_secret(role: iam.IRole, key: kms.IKey | None) -> None:
    """Allow the role to decrypt with the key, if there is one, through Secrets Manager only."""
    _allow_key(role, key, "secretsmanager", ("kms:Decrypt",))


def _allow_key(role: iam.IRole, key: kms.IKey | None, service: str, actions: Sequence[str]) -> None:
    if key is not None:
        through = {"kms:ViaService": f"{service}.{Stack.of(role).region}.amazonaws.com"}
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=list(actions), resources=[key.key_arn], conditions={"StringEquals": through})
        )
