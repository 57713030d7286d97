"""The functions of the saga: one a module of ``lambdas``, each under a role of its own."""

from collections.abc import Iterable, Mapping

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from saga_stack import packaging


class SagaFunctions(Construct):
    """One function for each name, ``<stack>-<name>``, that may update rows of the table and write its own log."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        names: Iterable[str],
        table: dynamodb.ITable,
        timeout: Duration,
        log_retention: logs.RetentionDays,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id_)
        self._table = table
        self._timeout = timeout
        self._log_retention = log_retention
        self._removal_policy = removal_policy
        self._code = packaging.code()
        self.by_name: Mapping[str, lambda_.Function] = {name: self._function(name) for name in names}

    def _function(self, name: str) -> lambda_.Function:
        full_name = f"{Stack.of(self).stack_name}-{name}"
        log_group = logs.LogGroup(
            self,
            f"{name}-log",
            log_group_name=f"/aws/lambda/{full_name}",
            retention=self._log_retention,
            removal_policy=self._removal_policy,
        )
        # Not the role that the CDK makes by default, which may write to every log group of the account.
        role = iam.Role(self, f"{name}-role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        log_group.grant_write(role)
        self._table.grant(role, "dynamodb:UpdateItem")
        return lambda_.Function(
            self,
            name,
            function_name=full_name,
            runtime=packaging.RUNTIME,
            architecture=packaging.ARCHITECTURE,
            code=self._code,
            handler=f"lambdas.{name}.handler",
            role=role,
            # Twice the smallest size: CPU comes with memory, and half of a call is imports and TLS.
            memory_size=256,
            timeout=self._timeout,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            environment={"TABLE_NAME": self._table.table_name},
        )
