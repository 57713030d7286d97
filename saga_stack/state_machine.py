"""The state machine that runs a saga, under a role that may invoke its functions and make its one write."""

from collections.abc import Iterable

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct


class SagaStateMachine(Construct):
    """A STANDARD state machine, logged without execution data, since that holds the card, and traced.

    It has no timeout of its own: one that ran out during a rollback would leave it half done.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        name: str,
        definition: sfn.IChainable,
        functions: Iterable[lambda_.IFunction],
        table: dynamodb.ITable,
        log_retention: logs.RetentionDays,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id_)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn for function in functions]
            )
        )
        table.grant(role, "dynamodb:UpdateItem")
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
                destination=logs.LogGroup(
                    self,
                    "Log",
                    # Names that start so are never in the way of the account's limit on resource policies.
                    log_group_name=f"/aws/vendedlogs/states/{name}",
                    retention=log_retention,
                    removal_policy=removal_policy,
                ),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
            tracing_enabled=True,
        )
        self.state_machine.node.add_dependency(role)


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
