"""The state machine of a saga. Its role may invoke the functions and, for a completion, update the table."""

from collections.abc import Iterable

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.construct.functions import allow_update, log_group_of
from saga_stack.construct.nag import acknowledge
from saga_stack.construct.stages import Stage


class SagaStateMachine(Construct):
    """A STANDARD state machine with traces, and with logs that omit execution data.

    It has no timeout: it could fire in the middle of a rollback. ``log`` has an entry for each event of an execution.

    Args:
        name: the name of the state machine.
        definition: its first state.
        functions: the functions that it may invoke.
        table: the table that it may update; None if it has no completion.
        stage: how long its log is kept.
        key: the key of its log and of the table; None for keys that AWS manages.
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
        stage: Stage,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        role = iam.Role(self, "Role", assumed_by=_step_functions_of(Stack.of(self)))
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[function.function_arn for function in functions]
            )
        )
        if table is not None:
            allow_update(role, table, key)
        _allow_logs_and_traces(role)
        # Log groups with this prefix need no resource policy, of which an account may have ten only.
        self.log = log_group_of(self, "Log", f"/aws/vendedlogs/states/{name}", stage=stage, key=key)
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            definition_body=sfn.DefinitionBody.from_chainable(definition),
            # The grants of the CDK's tasks are too wide: every version of each function.
            role=role.without_policy_updates(),
            logs=sfn.LogOptions(destination=self.log, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        self.state_machine.node.add_dependency(role)


def _step_functions_of(stack: Stack) -> iam.ServicePrincipal:
    """Return Step Functions as the principal, for the state machines of this account and region only.

    The role is made before the state machine, so its trust policy cannot name it (Step Functions Developer Guide,
    "Creating an IAM role for your state machine": prevention of the confused deputy problem).
    """
    machines = stack.format_arn(
        service="states", resource="stateMachine", resource_name="*", arn_format=ArnFormat.COLON_RESOURCE_NAME
    )
    return iam.ServicePrincipal(
        "states.amazonaws.com",
        conditions={"StringEquals": {"aws:SourceAccount": stack.account}, "ArnLike": {"aws:SourceArn": machines}},
    )


def _allow_logs_and_traces(role: iam.Role) -> None:
    """Allow what Step Functions needs for logs and traces. None of these actions supports a resource.

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
        reason="the actions for log delivery and X-Ray in _allow_logs_and_traces support no resource",
    )
