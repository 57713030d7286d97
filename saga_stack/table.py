"""The table: one row a step and order, whatever an order is called there."""

from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from saga_stack.storage import Storage


class SagaTable(dynamodb.Table):
    """On demand, restorable to any second of the last 35 days, encrypted with the stage's key or one that AWS manages.

    ``Table`` rather than ``TableV2``: a single-region table needs nothing of a global one, and the
    CloudFormation emulators know ``AWS::DynamoDB::Table``.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        partition_key: str,
        protected: bool,
        storage: Storage,
    ) -> None:
        super().__init__(
            scope,
            id_,
            partition_key=dynamodb.Attribute(name=partition_key, type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="entity", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED
            if storage.key
            else dynamodb.TableEncryption.AWS_MANAGED,
            encryption_key=storage.key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=protected,
            removal_policy=storage.removal_policy,
        )
