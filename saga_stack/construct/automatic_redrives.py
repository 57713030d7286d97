"""The function that redrives sagas that failed, and its schedule. Only for stages with ``automatic_redrives``."""

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from saga_stack.construct.functions import LoggedFunction, allow_executions, role_of
from saga_stack.construct.stages import Stage
from saga_stack.construct.stuck_sagas import StuckSagas

# A call ends before the next one begins: Lambda does not repeat a call that failed.
EVERY = Duration.minutes(15)
TIMEOUT = Duration.minutes(10)


class AutomaticRedrives(Construct):
    """``function`` redrives sagas that failed, as lambdas/saga_runtime/redrive_stuck_sagas.py says; ``rule`` calls it.

    Its role may describe and redrive executions of the state machine, read entries, and clear the entries and messages
    of those that recovered.

    Args:
        stuck: the table and the queue of stuck sagas.
        state_machine_name: the name of the state machine.
        failed: the error of a clean failure.
        code: the asset.
        stage: how often and when sagas are redriven, and how long the log is kept.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        stuck: StuckSagas,
        state_machine_name: str,
        failed: str,
        code: lambda_.Code,
        stage: Stage,
    ) -> None:
        super().__init__(scope, id_)
        self.function = LoggedFunction(
            self,
            name="redrive_stuck_sagas",
            code=code,
            stage=stage,
            key=None,
            timeout=TIMEOUT,
            retry_attempts=0,
            handler="lambdas.saga_runtime.{}.handler",
            environment={
                "STUCK_SAGAS_TABLE": stuck.table.table_name,
                "QUEUE_URL": stuck.queue.queue_url,
                "CLEAN_ERROR": failed,
                "AUTOMATIC_REDRIVES": str(stage.automatic_redrives),
                "FIRST_PAUSE_SECONDS": str(stage.first_redrive_after),
            },
        )
        role = role_of(self.function)
        allow_executions(role, state_machine_name, "states:DescribeExecution", "states:RedriveExecution")
        stuck.table.grant(role, "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:DeleteItem")
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
                resources=[stuck.queue.queue_arn],
            )
        )
        self.rule = events.Rule(
            self, "Schedule", schedule=events.Schedule.rate(EVERY), targets=[targets.LambdaFunction(self.function)]
        )
