"""Stuck sagas: every execution that ended in neither of the two clean ways is told to a queue."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

# The longest that SQS keeps a message, and as long as Step Functions lets an execution be redriven.
KEPT = Duration.days(14)


class StuckSagas(Construct):
    """A queue with a message for each stuck saga: its execution, how and when it ended, the error and the cause.

    A message never holds the execution's input. An execution that succeeded, or that failed with ``failed``
    after its compensations, sends none.
    """

    def __init__(self, scope: Construct, id_: str, *, state_machine: sfn.IStateMachine, failed: str) -> None:
        super().__init__(scope, id_)
        self._state_machine = state_machine
        self._undelivered = _queue(self, "Undelivered")
        self.queue = _queue(self, "Queue", dead_letters=self._undelivered)
        # Two rules, since only the event of a failed execution has the fields `error` and `cause`.
        self._tell(
            "Failed", detail={"status": ["FAILED"], "error": [{"anything-but": failed}]}, fields=("error", "cause")
        )
        self._tell("CutOff", detail={"status": ["TIMED_OUT", "ABORTED"]}, fields=())

    def _tell(self, outcome: str, *, detail: Mapping[str, object], fields: Sequence[str]) -> None:
        rule = events.Rule(
            self,
            outcome,
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": [self._state_machine.state_machine_arn], **detail},
            ),
        )
        message = {
            field: events.EventField.from_path(f"$.detail.{field}")
            for field in ("executionArn", "name", "status", "startDate", "stopDate", *fields)
        }
        rule.add_target(
            targets.SqsQueue(
                self.queue,
                dead_letter_queue=self._undelivered,
                message=events.RuleTargetInput.from_object(message),
            )
        )


def _queue(scope: Construct, id_: str, *, dead_letters: sqs.Queue | None = None) -> sqs.Queue:
    return sqs.Queue(
        scope,
        id_,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=KEPT,
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=10) if dead_letters else None,
    )
