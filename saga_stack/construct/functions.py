"""The functions of a saga. Each has a role of its own."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from saga_stack.construct import packaging
from saga_stack.construct.encryption import allow_key_for_table
from saga_stack.construct.nag import acknowledge
from saga_stack.construct.stages import Stage


class LoggedFunction(lambda_.Function):
    """The function ``<stack>-<name>``, whose role may write its own log.

    Args:
        name: the end of the function's name.
        code: the asset.
        stage: how long its log is kept.
        key: the key of its log; None for a key that AWS manages.
        environment: its environment variables.
        handler: its path in the asset, with ``{}`` for the name. Default: ``lambdas.{}.handler``.
        settings: further arguments of ``lambda_.Function``.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        name: str,
        code: lambda_.Code,
        stage: Stage,
        key: kms.IKey | None,
        environment: Mapping[str, str],
        handler: str = "lambdas.{}.handler",
        **settings: Any,
    ) -> None:
        full_name = f"{Stack.of(scope).stack_name}-{name}"
        log_group = log_group_of(scope, f"{name}-log", f"/aws/lambda/{full_name}", stage=stage, key=key)
        # Not the role that the CDK makes by default, which may write to every log group of the account.
        role = iam.Role(scope, f"{name}-role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        super().__init__(
            scope,
            name,
            function_name=full_name,
            runtime=packaging.RUNTIME,
            architecture=packaging.ARCHITECTURE,
            code=code,
            handler=handler.format(name),
            role=role,
            # Twice the minimum: CPU comes in proportion to memory, and half of a call is imports and TLS.
            memory_size=256,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={"POWERTOOLS_METRICS_NAMESPACE": Stack.of(scope).stack_name, **environment},
            **settings,
        )
        acknowledge(
            role,
            finding="AwsSolutions-IAM5[Resource::*]",
            reason="active tracing needs xray:PutTraceSegments and PutTelemetryRecords, which support no resource",
        )


class SagaFunctions(Construct):
    """The functions of the steps. Each may update items of the table, log and trace, and nothing else.

    ``by_name`` has the functions by name.

    Args:
        timeouts: the timeout of each function by its name.
        environment: environment variables of all functions, beside TABLE_NAME.
        handler: the path of a function in the asset, with ``{}`` for its name.
        code: the asset.
        table: the table of the saga.
        stage: how long logs are kept.
        key: the key of the logs and of the table; None for keys that AWS manages.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        timeouts: Mapping[str, Duration],
        environment: Mapping[str, str],
        handler: str,
        code: lambda_.Code,
        table: dynamodb.ITable,
        stage: Stage,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self.by_name: Mapping[str, lambda_.Function] = {
            name: LoggedFunction(
                self,
                name=name,
                handler=handler,
                code=code,
                timeout=timeout,
                stage=stage,
                key=key,
                environment={"TABLE_NAME": table.table_name, **environment},
            )
            for name, timeout in timeouts.items()
        }
        for function in self.by_name.values():
            allow_update(role_of(function), table, key)


def allow_to_read(function: lambda_.IFunction, table: dynamodb.ITable) -> None:
    """Grant the function to read items of the table by their keys."""
    table.grant(role_of(function), "dynamodb:GetItem")


def allow_to_end_tasks(function: lambda_.IFunction, *ways: str) -> None:
    """Grant the function to end tasks that wait, and accept cdk-nag's finding about that.

    These actions support no resource (Service Authorization Reference, "Actions, resources, and condition keys for AWS
    Step Functions"). A task token cannot be guessed: it decides which task ends.

    Args:
        function: the function.
        ways: ``Success``, ``Failure``, and ``Heartbeat`` to let them wait on.
    """
    role = role_of(function)
    role.add_to_principal_policy(
        iam.PolicyStatement(actions=[f"states:SendTask{way}" for way in ways], resources=["*"])
    )
    acknowledge(
        role,
        finding="AwsSolutions-IAM5[Resource::*]",
        reason="besides tracing, the states:SendTask actions support no resource; a token names one task",
    )


def log_group_of(scope: Construct, id_: str, name: str, *, stage: Stage, key: kms.IKey | None) -> logs.LogGroup:
    """Make a log group that is kept as long as the stage says."""
    return logs.LogGroup(
        scope,
        id_,
        log_group_name=name,
        retention=stage.log_retention,
        removal_policy=stage.removal_policy,
        encryption_key=key,
    )


def allow_update(role: iam.IRole, table: dynamodb.ITable, key: kms.IKey | None) -> None:
    """Grant the role to update items of the table, and to use the key if the table has one."""
    table.grant(role, "dynamodb:UpdateItem")
    allow_key_for_table(role, key)


def allow_executions(role: iam.IRole, state_machine_name: str, *actions: str) -> None:
    """Allow the role these actions on all executions of the state machine, and accept cdk-nag's finding about them."""
    executions = Stack.of(role).format_arn(
        service="states",
        resource="execution",
        resource_name=f"{state_machine_name}:*",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=[executions]))
    acknowledge(
        role,
        finding="AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:"
        f"execution:{state_machine_name}:*]",
        reason="the names of executions are not known before they start; all are of this state machine",
    )


def role_of(function: lambda_.IFunction) -> iam.IRole:
    """Return the role that the function was made with."""
    role = function.role
    assert role is not None  # noqa: S101 (the function was made with one)
    return role
