"""The events by which other systems learn the outcome of a saga, on an event bus of the stack.

The stream of the table calls a function, which publishes. A pipe would need no code, but it can neither compare the old
with the new row nor reach the last entry of a history (docs/adr/0025).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from saga_stack.construct.encryption import allow_key_for_reading
from saga_stack.construct.functions import LoggedFunction, role_of
from saga_stack.construct.nag import acknowledge
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import InvalidSagaError
from saga_stack.construct.stuck_sagas import StuckSagas, saga_queue

# After this time a batch that cannot be published is given up; until then it delays the later events of its shard.
GIVE_UP_AFTER = Duration.hours(6)
# Lambda's default quota for a mapping (Lambda Developer Guide, "Control which events Lambda sends to your function").
MAX_FILTERS = 5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A status of a row that ends a saga, and the event that reports it.

    Args:
        entity: the sort key of the row.
        status: the status.
        event: the name of the event, such as ``BookingConfirmed``.
        is_rollback: whether the status is that of a compensated row. A saga that could not write the row then raises
            its fence, which ends the saga as well. Default: false.
    """

    entity: str
    status: str
    event: str
    is_rollback: bool = False


@dataclass(frozen=True, kw_only=True)
class EventSettings:
    """The events that a saga publishes.

    Args:
        outcomes: the statuses that end a saga. Lambda allows five filters, of which a rollback takes one and any other
            outcome two.
        stuck_event: the name of the event that reports a stuck saga.
    """

    outcomes: Sequence[Outcome]
    stuck_event: str


class OutcomeEvents(Construct):
    """The event bus ``<stack>-outcomes``, and the function that publishes to it. Its output is EventBusName.

    ``undelivered`` receives where the stream has the records that could not be published, never the records. Raises
    InvalidSagaError if the outcomes need more filters than Lambda allows.

    Args:
        settings: the events.
        partition_key: the field that identifies an input.
        table: the table, with a stream.
        stuck: the reporter of stuck sagas.
        code: the asset.
        stage: how long the log is kept.
        key: the key of the log and of the table; None for keys that AWS manages.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: EventSettings,
        partition_key: str,
        table: dynamodb.ITable,
        stuck: StuckSagas,
        code: lambda_.Code,
        stage: Stage,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self.bus = events.EventBus(self, "Bus", event_bus_name=f"{Stack.of(self).stack_name}-outcomes")
        self.undelivered = saga_queue(self, "Undelivered")
        acknowledge(
            self.undelivered,
            finding="AwsSolutions-SQS3",
            reason="it is the dead-letter queue of the event source mapping, which the rule does not see",
        )
        variables = {"EVENT_BUS": self.bus.event_bus_name, "KEY_FIELD": partition_key}
        self.publisher = LoggedFunction(
            self,
            name="publish_outcome",
            code=code,
            stage=stage,
            key=key,
            timeout=Duration.seconds(60),
            handler="lambdas.saga_runtime.{}.handler",
            environment={
                **variables,
                "EVENTS": json.dumps({f"{one.entity} {one.status}": one.event for one in settings.outcomes}),
            },
        )
        self._allow_publishing(self.publisher)
        self._call_on(table, settings.outcomes, key)
        # An execution that is stuck writes nothing: its reporter publishes the event.
        for name, value in {**variables, "STUCK_EVENT": settings.stuck_event}.items():
            stuck.reporter.add_environment(name, value)
        self._allow_publishing(stuck.reporter)
        CfnOutput(self, "EventBusName", value=self.bus.event_bus_name).override_logical_id("EventBusName")

    def _allow_publishing(self, function: lambda_.IFunction) -> None:
        role_of(function).add_to_principal_policy(
            iam.PolicyStatement(actions=["events:PutEvents"], resources=[self.bus.event_bus_arn])
        )

    def _call_on(self, table: dynamodb.ITable, outcomes: Sequence[Outcome], key: kms.IKey | None) -> None:
        """Call the publisher for every row that reaches one of the statuses."""
        stream = table.table_stream_arn
        assert stream is not None  # noqa: S101 (SagaStack makes the table with a stream)
        patterns = [pattern for outcome in outcomes for pattern in _patterns(outcome)]
        if len(patterns) > MAX_FILTERS:
            raise InvalidSagaError(
                f"the outcomes {', '.join(outcome.event for outcome in outcomes)} need {len(patterns)} filters: Lambda "
                f"allows {MAX_FILTERS}, of which a rollback takes one and any other outcome two; publish fewer"
            )
        role = role_of(self.publisher)
        for permitted, resource in {
            ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"): stream,
            # This one supports no resource; LoggedFunction accepts the finding.
            ("dynamodb:ListStreams",): "*",
            ("sqs:SendMessage",): self.undelivered.queue_arn,
        }.items():
            role.add_to_principal_policy(iam.PolicyStatement(actions=list(permitted), resources=[resource]))
        allow_key_for_reading(role, key)
        lambda_.CfnEventSourceMapping(
            self,
            "Stream",
            event_source_arn=stream,
            function_name=self.publisher.function_name,
            # The mapping may be made after the first records.
            starting_position="TRIM_HORIZON",
            # One bad record must not hold the others back.
            bisect_batch_on_function_error=True,
            maximum_record_age_in_seconds=GIVE_UP_AFTER.to_seconds(),
            destination_config=lambda_.CfnEventSourceMapping.DestinationConfigProperty(
                on_failure=lambda_.CfnEventSourceMapping.OnFailureProperty(destination=self.undelivered.queue_arn)
            ),
            filter_criteria=lambda_.CfnEventSourceMapping.FilterCriteriaProperty(
                filters=[
                    lambda_.CfnEventSourceMapping.FilterProperty(pattern=json.dumps(pattern)) for pattern in patterns
                ]
            ),
        ).node.add_dependency(role)


class ExampleSubscriber(Construct):
    """An example of a subscriber: a rule of the bus sends every event to a queue. Its output is OutcomeQueueUrl.

    Args:
        bus: the event bus.
    """

    def __init__(self, scope: Construct, id_: str, *, bus: events.IEventBus) -> None:
        super().__init__(scope, id_)
        undelivered = saga_queue(self, "Undelivered")
        self.queue = saga_queue(self, "Queue", dead_letters=undelivered)
        events.Rule(
            self,
            "Rule",
            event_bus=bus,
            event_pattern=events.EventPattern(source=[Stack.of(self).stack_name]),
            targets=[targets.SqsQueue(self.queue, dead_letter_queue=undelivered)],
        )
        CfnOutput(self, "OutcomeQueueUrl", value=self.queue.queue_url).override_logical_id("OutcomeQueueUrl")


def _patterns(outcome: Outcome) -> Sequence[Mapping[str, object]]:
    """Return the filters of the stream for rows that reach the status. Later changes of a compensated row pass too."""
    reached = {"Keys": {"entity": {"S": [outcome.entity]}}, "NewImage": {"status": {"S": [outcome.status]}}}
    if outcome.is_rollback:
        # A compensation makes a new row if the action has made none.
        return [{"eventName": ["INSERT", "MODIFY"], "dynamodb": reached}]
    before = {"status": {"S": [{"anything-but": [outcome.status]}]}}
    return [
        {"eventName": ["INSERT"], "dynamodb": reached},
        {"eventName": ["MODIFY"], "dynamodb": {**reached, "OldImage": before}},
    ]
