"""The functions of a saga, each under a role of its own."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from saga_stack import packaging
from saga_stack.encryption import may_use_through
from saga_stack.findings import acknowledge
from saga_stack.storage import Storage


class LoggedFunction(lambda_.Function):
    """The function ``<stack>-<name>``, under a role that may write its own log.

    ``handler`` says where it is in the asset, ``{}`` standing for its name. Further arguments are those of
    ``lambda_.Function``.
    """

    def __init__(
        self,
        scope: Construct,
        *,
        name: str,
        code: lambda_.Code,
        storage: Storage,
        environment: Mapping[str, str],
        handler: str = "lambdas.{}.handler",
        **settings: Any,
    ) -> None:
        full_name = f"{Stack.of(scope).stack_name}-{name}"
        log_group = storage.log_group(scope, f"{name}-log", f"/aws/lambda/{full_name}")
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
            # Twice the smallest size: CPU comes with memory, and half of a call is imports and TLS.
            memory_size=256,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={"POWERTOOLS_METRICS_NAMESPACE": Stack.of(scope).stack_name, **environment},
            **settings,
        )
        acknowledge(
            role,
            finding="AwsSolutions-IAM5[Resource::*]",
            reason="X-Ray's PutTraceSegments and PutTelemetryRecords, which active tracing needs, know no resource",
        )


class SagaFunctions(Construct):
    """One function for each name, that may update rows of the table and do nothing else but log and trace.

    ``timeouts`` has the timeout of each by its name; ``environment`` is what all are told beyond the table's name.
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
        storage: Storage,
    ) -> None:
        super().__init__(scope, id_)
        self.by_name: Mapping[str, lambda_.Function] = {
            name: LoggedFunction(
                self,
                name=name,
                handler=handler,
                code=code,
                timeout=timeout,
                storage=storage,
                environment={"TABLE_NAME": table.table_name, **environment},
            )
            for name, timeout in timeouts.items()
        }
        for function in self.by_name.values():
            may_update(_role(function), table, storage.key)


def may_update(role: iam.IRole, table: dynamodb.ITable, key: kms.IKey | None) -> None:
    """Let the role update rows of the table, whatever it is encrypted with."""
    table.grant(role, "dynamodb:UpdateItem")
    may_use_through(role, key, "dynamodb")


def _role(function: lambda_.IFunction) -> iam.IRole:
    role = function.role
    assert role is not None  # noqa: S101 (the function was made with one)
    return role
