"""The table: one row for each step of a saga."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from saga_stack.construct.stages import Stage


class SagaTable(dynamodb.Table):
    """A table with on-demand capacity, point-in-time recovery for 35 days, and encryption.

    It is a ``Table`` rather than a ``TableV2``, because it has one region and emulators support
    ``AWS::DynamoDB::Table`` only.

    Args:
        partition_key: the field that identifies an input. The sort key is ``entity``.
        stage: the removal policy and the deletion protection.
        key: the key of the table; None for a key that AWS manages.
        has_stream: whether every change of a row is also put on a stream. Default: no.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        partition_key: str,
        stage: Stage,
        key: kms.IKey | None,
        has_stream: bool = False,
    ) -> None:
        super().__init__(
            scope,
            id_,
            partition_key=dynamodb.Attribute(name=partition_key, type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="entity", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if key else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=stage.protected,
            removal_policy=stage.removal_policy,
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES if has_stream else None,
        )
