"""The HTTP API of a saga: other systems start it, read its outcome and cancel it. docs/api.md has its contract."""

import json
from collections.abc import Mapping, Sequence

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_apigatewayv2 as apigateway
from aws_cdk import aws_apigatewayv2_authorizers as authorizers
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.construct.edges import ApiSettings, Jwt, Throttling
from saga_stack.construct.encryption import allow_key_for_reading
from saga_stack.construct.functions import (
    LoggedFunction,
    allow_executions,
    allow_to_read,
    allow_update,
    log_group_of,
    role_of,
)
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import StepOrGroup, fallible_actions

# Log groups with this prefix need no resource policy, of which an account may have ten only.
LOG_PREFIX = "/aws/vendedlogs/apis"
# What is logged of each request: no body, no header, and no path, which has the key of an input.
LOGGED = (
    *("requestId", "requestTime", "routeKey", "status", "protocol", "responseLength", "responseLatency"),
    *("integrationLatency", "integrationErrorMessage", "error.message", "authorizer.error", "identity.userArn"),
)


class SagaApi(Construct):
    """The HTTP API ``<stack>-api``: ``POST /path``, ``GET /path/{id}`` and ``POST /path/{id}/cancel``.

    Its output is ApiUrl. Every route needs an IAM signature, or a token if the settings name an issuer. No route allows
    CORS. ``functions`` has its functions by name.

    Args:
        settings: the path, the functions, and who may call the API how often.
        steps: the steps of the saga.
        state_machine: the state machine.
        state_machine_name: its name.
        failed: the error of a clean failure.
        table: the table.
        code: the asset.
        stage: how long logs are kept.
        receiver: the function that receives answers; None if no step waits. Cancelling a step that waits calls it.
        key: the key of the logs and of the table; None for keys that AWS manages.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: ApiSettings,
        steps: Sequence[StepOrGroup],
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        failed: str,
        table: dynamodb.ITable,
        code: lambda_.Code,
        stage: Stage,
        receiver: lambda_.IFunction | None,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self._key = key
        self.functions: Mapping[str, lambda_.Function] = {
            name: LoggedFunction(
                self,
                name=name,
                handler=settings.handler,
                code=code,
                stage=stage,
                key=key,
                # As long as API Gateway waits for a response.
                timeout=Duration.seconds(30),
                environment={
                    "TABLE_NAME": table.table_name,
                    **variables_of(steps, machine=state_machine.state_machine_arn, failed=failed),
                },
            )
            for name in settings.functions
        }
        starter, reader, canceller = self.functions.values()
        for function in self.functions.values():
            allow_to_read(function, table)
            allow_executions(role_of(function), state_machine_name, "states:DescribeExecution")
        for function in (starter, reader):
            allow_key_for_reading(role_of(function), key)
        # It writes tombstones, as a compensation does.
        allow_update(role_of(canceller), table, key)
        if receiver:
            canceller.add_environment("RECEIVER_NAME", receiver.function_name)
            role_of(canceller).add_to_principal_policy(
                iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[receiver.function_arn])
            )
        role_of(starter).add_to_principal_policy(
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[state_machine.state_machine_arn])
        )
        reading = integrations.HttpLambdaIntegration("Read", reader)
        self.api = apigateway.HttpApi(
            self,
            "Api",
            api_name=f"{Stack.of(self).stack_name}-api",
            create_default_stage=False,
            default_authorizer=_authorizer(settings.jwt),
            # Answers unknown paths and methods.
            default_integration=reading,
        )
        self.api.add_routes(
            path=settings.path,
            methods=[apigateway.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Start", starter),
        )
        # A key may contain slashes, and a variable that does must end the path.
        below = f"{settings.path}/{{id+}}"
        outcome = self.api.add_routes(path=below, methods=[apigateway.HttpMethod.GET], integration=reading)
        self.api.add_routes(
            path=below,
            methods=[apigateway.HttpMethod.POST],
            integration=integrations.HttpLambdaIntegration("Cancel", canceller),
        )
        # API Gateway rejects settings of a route that does not exist yet.
        self._add_stage(stage, settings.throttling, outcome=f"GET {below}").node.add_dependency(*outcome)
        CfnOutput(self, "ApiUrl", value=self.api.api_endpoint).override_logical_id("ApiUrl")

    def _add_stage(self, stage: Stage, throttling: Throttling, *, outcome: str) -> apigateway.CfnStage:
        name = f"{LOG_PREFIX}/{Stack.of(self).stack_name}-api"
        log_group = log_group_of(self, "Log", name, stage=stage, key=self._key)
        return apigateway.CfnStage(
            self,
            "Stage",
            api_id=self.api.api_id,
            stage_name="$default",
            auto_deploy=True,
            default_route_settings=apigateway.CfnStage.RouteSettingsProperty(
                throttling_rate_limit=throttling.rate, throttling_burst_limit=throttling.burst
            ),
            route_settings={
                outcome: {
                    "ThrottlingRateLimit": throttling.outcome_rate,
                    "ThrottlingBurstLimit": throttling.outcome_burst,
                }
            },
            access_log_settings=apigateway.CfnStage.AccessLogSettingsProperty(
                destination_arn=log_group.log_group_arn,
                format=json.dumps({name: f"$context.{name}" for name in LOGGED}),
            ),
        )


def variables_of(steps: Sequence[StepOrGroup], *, machine: str, failed: str) -> dict[str, str]:
    """Return the environment variables that only the functions of the API have.

    Args:
        steps: the steps of the saga.
        machine: the ARN of the state machine.
        failed: the error of a clean failure.
    """
    return {
        "STATE_MACHINE_ARN": machine,
        "CLEAN_ERROR": failed,
        "FALLIBLE_ACTIONS": json.dumps(fallible_actions(steps)),
    }


def _authorizer(jwt: Jwt | None) -> apigateway.IHttpRouteAuthorizer:
    if jwt is None:
        return authorizers.HttpIamAuthorizer()
    return authorizers.HttpJwtAuthorizer("Jwt", jwt.issuer, jwt_audience=[jwt.audience])
