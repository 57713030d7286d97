"""The state machine that runs a saga, under a role that may invoke its functions and, if it must, make a write."""

from collections.abc import Iterable

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.encryption import may_encrypt_log_deliveries, may_use_for
from saga_stack.findings import acknowledge
from saga_stack.functions import may_update
from saga_stack.storage import Storage


class SagaStateMachine(Construct):
    """A STANDARD state machine, logged without execution data, since that holds the card, and traced.

    It has no timeout of its own: one that ran out during a rollback would leave it half done. ``table`` is the one
    that it writes to by itself, if it does.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        definition: sfn.IChainable,
        functions: Iterable[lambda_.IFunction],
        table: dynamodb.ITable | None,
        storage: Storage,
    ) -> None:
        super().__init__(scope, id_)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn for function in functions]
            )
        )
        if table is not None:
            may_update(role, table, storage.key)
        may_use_for(role, storage.key, _arn(self, name), ("kms:Decrypt", "kms:GenerateDataKey"))
        may_encrypt_log_deliveries(role, storage.key)
        _may_log_and_trace(role)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_chainable(definition),
            # What the tasks would add to the role is more than they need: every version of each function.
            role=role.without_policy_updates(),
            logs=sfn.LogOptions(
                # Names that start so are never in the way of the account's limit on resource policies.
                destination=storage.log_group(self, "Log", f"/aws/vendedlogs/states/{name}"),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
            tracing_enabled=True,
            encryption_configuration=sfn.CustomerManagedEncryptionConfiguration(storage.key) if storage.key else None,
        )
        self.state_machine.node.add_dependency(role)


def _arn(scope: Construct, name: str) -> str:
    """The state machine's ARN without a reference to it, since its role must be there before it."""
    return Stack.of(scope).format_arn(
        service="states", resource="stateMachine", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def _may_log_and_trace(role: iam.Role) -> None:
    """What Step Functions needs to write logs and traces; AWS offers no narrower resource for any of it.

    Source: AWS Step Functions Developer Guide, "Logging using CloudWatch Logs" and "Trace using X-Ray".
    """
    role.add_to_policy(
        iam.PolicyStatement(
            actions=[
                "logs:CreateLogDelivery",
                "logs:DeleteLogDelivery",
                "logs:DescribeLogGroups",
                "logs:DescribeResourcePolicies",
                "logs:GetLogDelivery",
                "logs:ListLogDeliveries",
                "logs:PutResourcePolicy",
                "logs:UpdateLogDelivery",
                "xray:GetSamplingRules",
                "xray:GetSamplingTargets",
                "xray:PutTelemetryRecords",
                "xray:PutTraceSegments",
            ],
            resources=["*"],
        )
    )
    acknowledge(
        role,
        finding="AwsSolutions-IAM5[Resource::*]",
        reason="the delivery of logs and X-Ray's calls, listed in _may_log_and_trace, know no resource",
    )
