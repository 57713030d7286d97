"""Stuck sagas: every execution that ended in neither of the two clean ways is told to a queue."""

from collections.abc import Mapping

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.encryption import SEND, may_use_for, may_use_through
from saga_stack.findings import acknowledge
from saga_stack.functions import LoggedFunction
from saga_stack.storage import Storage

# The longest that SQS keeps a message, and as long as Step Functions lets an execution be redriven.
KEPT = Duration.days(14)


class StuckSagas(Construct):
    """``queue`` gets a message for each stuck saga: its execution, the state it stopped in, when and why.

    A message never holds the execution's input. An execution that succeeded, or that failed with ``failed`` after
    its compensations, sends none. What could not be reported lies in ``undelivered``.

    EventBridge calls a small function rather than the queue, because an event names no state, and the event of an
    encrypted execution need not tell how it failed (docs/adr/0008).
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        failed: str,
        code: lambda_.Code,
        storage: Storage,
    ) -> None:
        super().__init__(scope, id_)
        self._state_machine = state_machine
        self.undelivered = _queue(self, "Undelivered", storage.key)
        self.queue = _queue(self, "Queue", storage.key, dead_letters=self.undelivered)
        self.reporter = LoggedFunction(
            self,
            name="report_stuck_saga",
            code=code,
            storage=storage,
            timeout=Duration.seconds(60),
            environment={"QUEUE_URL": self.queue.queue_url, "CLEAN_ERROR": failed},
            dead_letter_queue=self.undelivered,
        )
        self._let_it_look_and_tell(state_machine_name, storage.key)
        # An event without the field `error` may be of a clean failure; the function finds out.
        self._call_on("Failed", {"status": ["FAILED"], "error": [{"anything-but": failed}, {"exists": False}]})
        self._call_on("CutOff", {"status": ["TIMED_OUT", "ABORTED"]})

    def _let_it_look_and_tell(self, state_machine_name: str, key: kms.IKey | None) -> None:
        role = self.reporter.role
        assert role is not None  # noqa: S101 (it was made with one)
        executions = Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:GetExecutionHistory"], resources=[executions]
            )
        )
        acknowledge(
            role,
            finding="AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:"
            f"execution:{state_machine_name}:*]",
            reason="an execution has no name before it starts; it is those of the one state machine",
        )
        role.add_to_principal_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.queue.queue_arn]))
        may_use_through(role, key, "sqs", SEND)
        may_use_for(role, key, self._state_machine.state_machine_arn, ("kms:Decrypt",))

    def _call_on(self, outcome: str, detail: Mapping[str, object]) -> None:
        rule = events.Rule(
            self,
            outcome,
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self._state_machine.state_machine_arn], **detail},
            ),
        )
        # What the function needs of the event, so that the input, which holds the card, goes nowhere.
        fields = ("executionArn", "name", "status", "startDate", "stopDate")
        rule.add_target(
            targets.LambdaFunction(
                self.reporter,
                dead_letter_queue=self.undelivered,
                event=events.RuleTargetInput.from_object(
                    {"detail": {field: events.EventField.from_path(f"$.detail.{field}") for field in fields}}
                ),
            )
        )


def _queue(scope: Construct, id_: str, key: kms.IKey | None, *, dead_letters: sqs.Queue | None = None) -> sqs.Queue:
    return sqs.Queue(
        scope,
        id_,
        encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
        encryption_master_key=key,
        enforce_ssl=True,
        retention_period=KEPT,
        # Whoever looks at a message receives it: the most that SQS allows, so that looking does not move it away.
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=1000) if dead_letters else None,
    )
