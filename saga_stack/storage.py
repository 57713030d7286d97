"""How a stage keeps what it stores."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Whether it outlives the stack, how long logs are kept, and the key of it all; None for keys that AWS manages."""

    removal_policy: RemovalPolicy
    log_retention: logs.RetentionDays
    key: kms.IKey | None

    def log_group(self, scope: Construct, id_: str, name: str) -> logs.LogGroup:
        """A log group that is kept so."""
        return logs.LogGroup(
            scope,
            id_,
            log_group_name=name,
            retention=self.log_retention,
            removal_policy=self.removal_policy,
            encryption_key=self.key,
        )
