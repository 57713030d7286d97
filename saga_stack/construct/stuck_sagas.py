"""Stuck sagas: a table has an entry, and a queue receives a message, for every execution that did not end cleanly."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.construct.functions import LoggedFunction, allow_executions, role_of
from saga_stack.construct.stages import Stage

# The longest retention of SQS; Step Functions also allows redrives for 14 days.
RETENTION = Duration.days(14)


class StuckSagas(Construct):
    """The table and the queue of stuck sagas, and the function that writes both.

    ``table`` has an entry for each stuck saga: execution, key, state, times, error and cause, never the input.
    ``queue`` receives a message for each, without the key: it notifies, and fires the alarm (docs/adr/0019).
    ``undelivered`` receives what the function could not report; ``rules`` call the function. Nothing here is encrypted
    with the stage's key, so that the reports arrive if the key is disabled.

    EventBridge calls a function rather than the queue, because an event names no state (docs/adr/0019). The rules have
    no dead-letter queue, because it would receive the whole event, which has the input; an alarm counts their failures.

    Args:
        state_machine: the state machine.
        state_machine_name: its name.
        key_field: the field of the input that is the saga's key.
        failed: the error of a clean failure, which is not reported.
        sensitive_fields: the fields of the input that never appear in a message.
        code: the asset.
        stage: how long the log is kept, and what happens to the table when the stack is deleted.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        key_field: str,
        failed: str,
        sensitive_fields: Sequence[str],
        code: lambda_.Code,
        stage: Stage,
    ) -> None:
        super().__init__(scope, id_)
        self._state_machine = state_machine
        self.table = _table(self, stage)
        self.undelivered = saga_queue(self, "Undelivered")
        self.queue = saga_queue(self, "Queue", dead_letters=self.undelivered)
        self.reporter = LoggedFunction(
            self,
            name="report_stuck_saga",
            code=code,
            stage=stage,
            key=None,
            timeout=Duration.seconds(75),
            handler="lambdas.saga_runtime.{}.handler",
            environment={
                "STUCK_SAGAS_TABLE": self.table.table_name,
                "QUEUE_URL": self.queue.queue_url,
                "KEY_FIELD": key_field,
                "CLEAN_ERROR": failed,
                "SENSITIVE_FIELDS": ",".join(sensitive_fields),
            },
            dead_letter_queue=self.undelivered,
        )
        self._allow_reports(state_machine_name)
        self.rules = (
            # An event without `error` may be a clean failure; the function asks Step Functions.
            self._call_on("Failed", {"status": ["FAILED"], "error": [{"anything-but": failed}, {"exists": False}]}),
            self._call_on("CutOff", {"status": ["TIMED_OUT", "ABORTED"]}),
        )

    def _allow_reports(self, state_machine_name: str) -> None:
        role = role_of(self.reporter)
        allow_executions(role, state_machine_name, "states:DescribeExecution", "states:GetExecutionHistory")
        self.table.grant(role, "dynamodb:UpdateItem")
        role.add_to_principal_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.queue.queue_arn]))

    def _call_on(self, outcome: str, detail: Mapping[str, object]) -> events.Rule:
        rule = events.Rule(
            self,
            outcome,
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self._state_machine.state_machine_arn], **detail},
            ),
        )
        # Only what the function needs: the event also has the input.
        fields = ("executionArn", "name", "status", "startDate", "stopDate")
        rule.add_target(
            targets.LambdaFunction(
                self.reporter,
                event=events.RuleTargetInput.from_object(
                    {"detail": {field: events.EventField.from_path(f"$.detail.{field}") for field in fields}}
                ),
            )
        )
        return rule


def _table(scope: Construct, stage: Stage) -> dynamodb.Table:
    return dynamodb.Table(
        scope,
        "Table",
        partition_key=dynamodb.Attribute(name="execution_arn", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        # A key that AWS owns: it cannot be disabled.
        encryption=dynamodb.TableEncryption.DEFAULT,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        # Only closed entries have the attribute: an open one never expires.
        time_to_live_attribute="expires_at",
        removal_policy=stage.removal_policy,
    )


def saga_queue(scope: Construct, id_: str, *, dead_letters: sqs.Queue | None = None) -> sqs.Queue:
    """Make a queue that keeps its messages for 14 days."""
    return sqs.Queue(
        scope,
        id_,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=RETENTION,
        # Removing a message receives others too: the maximum of SQS, so that this does not move them.
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=1000) if dead_letters else None,
    )
