"""What is watched: a dashboard, and alarms that tell a topic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack.steps import Part, Retriable, Step, state_name, tasks_of, undoable
from saga_stack.stuck_sagas import StuckSagas

PERIOD = Duration.minutes(5)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm on ``metric`` above ``threshold``: in the last period, or in ``periods`` of the last three.

    What to do then is in docs/operations.md, under its name.
    """

    name: str
    metric: cloudwatch.IMetric
    description: str
    threshold: float = 0
    periods: int = 1


class Monitoring(Construct):
    """The alarms, the topic that they tell, and a dashboard of the same metrics.

    Every alarm is on one plain metric, without a label: what is meant can be read off, and emulators know it.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        steps: Sequence[Part],
        functions: Mapping[str, lambda_.Function],
        state_machine: sfn.StateMachine,
        table: dynamodb.Table,
        stuck: StuckSagas,
        slow_after: Duration,
        alert_email: str | None,
        key: kms.IKey | None,
    ) -> None:
        super().__init__(scope, id_)
        self._stack = Stack.of(self).stack_name
        self._steps = undoable(steps)
        self._retriables = [step.action for step in tasks_of(steps) if isinstance(step, Retriable)]
        self._functions = functions
        self._state_machine = state_machine
        self._table = table
        self._stuck = stuck
        self.topic = sns.Topic(self, "Alerts", master_key=key, enforce_ssl=True)
        self._let_alarms_tell_it()
        if alert_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(alert_email))
        alarms = [self._alarm(alarm) for alarm in self._watched(slow_after)]
        self._dashboard(alarms)

    def _let_alarms_tell_it(self) -> None:
        """A topic that has a policy has lost the default one, which lets the alarms of the account publish.

        Source: AWS Knowledge Center, "Why didn't I receive an SNS notification for my CloudWatch alarm trigger?"
        """
        alarms = Stack.of(self).format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=f"{self._stack}-*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"ArnLike": {"aws:SourceArn": alarms}},
            )
        )

    def _alarm(self, alarm: Alarm) -> cloudwatch.Alarm:
        made = cloudwatch.Alarm(
            self,
            alarm.name,
            alarm_name=f"{self._stack}-{alarm.name}",
            alarm_description=alarm.description,
            metric=alarm.metric,
            threshold=alarm.threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1 if alarm.periods == 1 else 3,
            datapoints_to_alarm=alarm.periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        made.add_alarm_action(actions.SnsAction(self.topic))
        made.add_ok_action(actions.SnsAction(self.topic))
        return made

    def _watched(self, slow_after: Duration) -> Iterable[Alarm]:
        machine = self._state_machine
        yield Alarm(
            name="StuckSagas",
            metric=_waiting(self._stuck.queue, Duration.minutes(1)),
            description="A saga has stopped half way: `python -m ops stuck` names it",
        )
        yield Alarm(
            name="UndeliveredReports",
            metric=_waiting(self._stuck.undelivered, Duration.minutes(1)),
            description="A stuck saga could not be reported: `python -m ops stuck --scan` finds it",
        )
        yield Alarm(
            name="ExecutionsTimedOut",
            metric=machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            description="Executions were ended by a time-out, which the stack does not set",
        )
        yield Alarm(
            name="ExecutionsAborted",
            metric=machine.metric_aborted(period=PERIOD, statistic="Sum"),
            description="Executions were stopped by somebody; they are stuck until they are resumed",
        )
        yield Alarm(
            name="SlowOrders",
            metric=machine.metric_time(period=PERIOD, statistic="p99"),
            threshold=slow_after.to_milliseconds(),
            periods=3,
            description=f"One order in a hundred takes more than {slow_after.to_seconds():.0f} s",
        )
        yield from self._watched_functions()
        yield from self._watched_table()

    def _watched_functions(self) -> Iterable[Alarm]:
        for step in self._steps:
            yield Alarm(
                name=f"Faults-{step.action}",
                metric=self._failed(step, "fault"),
                description=f"Orders are rolled back because {step.action} does not work; refused orders do not count",
            )
        for name in (*(step.compensation for step in self._steps), *self._retriables):
            yield Alarm(
                name=f"Errors-{name}",
                metric=self._functions[name].metric_errors(period=PERIOD, statistic="Sum"),
                periods=2,
                description=f"{name} fails; it is retried for many minutes, then its sagas are stuck",
            )
        for name, function in self._functions.items():
            yield Alarm(
                name=f"Throttles-{name}",
                metric=function.metric_throttles(period=PERIOD, statistic="Sum"),
                periods=2,
                description=f"{name} is called more often than the account's concurrency allows",
            )
        yield Alarm(
            name="Errors-report_stuck_saga",
            metric=self._stuck.reporter.metric_errors(period=PERIOD, statistic="Sum"),
            description="The function that reports stuck sagas fails; Lambda tries it three times",
        )

    def _watched_table(self) -> Iterable[Alarm]:
        yield Alarm(
            name="TableThrottles",
            metric=self._of_table("WriteThrottleEvents"),
            periods=2,
            description="Writes to the table are throttled; the sagas retry them",
        )
        yield Alarm(
            name="TableSystemErrors",
            metric=self._of_table("SystemErrors", Operation="UpdateItem"),
            periods=2,
            description="DynamoDB itself fails; the sagas retry",
        )

    def _failed(self, step: Step, kind: str) -> cloudwatch.Metric:
        return self._counted("StepFailed", step=state_name(step.action), kind=kind)

    def _by_step(self, name: str, step: Step) -> cloudwatch.Metric:
        return self._counted(name, step=state_name(step.action)).with_(label=step.action)

    def _counted(self, name: str, **dimensions: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=self._stack,
            metric_name=name,
            dimensions_map=dimensions,
            period=PERIOD,
            statistic="Sum",
        )

    def _of_table(self, name: str, **dimensions: str) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace="AWS/DynamoDB",
            metric_name=name,
            dimensions_map={"TableName": self._table.table_name, **dimensions},
            period=PERIOD,
            statistic="Sum",
        )

    def _dashboard(self, alarms: Sequence[cloudwatch.Alarm]) -> None:
        machine = self._state_machine
        dashboard = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self._stack)
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=list(alarms), width=24))
        _row(
            dashboard,
            {
                "Orders": [
                    machine.metric_started(period=PERIOD, label="started"),
                    machine.metric_succeeded(period=PERIOD, label="confirmed"),
                    machine.metric_failed(period=PERIOD, label="rolled back or stuck"),
                    machine.metric_timed_out(period=PERIOD, label="timed out"),
                    machine.metric_aborted(period=PERIOD, label="aborted"),
                ],
                "Time from start to end (ms)": [
                    machine.metric_time(period=PERIOD, statistic=statistic, label=statistic)
                    for statistic in ("p50", "p99")
                ],
                "Stuck sagas": [_waiting(self._stuck.queue, PERIOD), _waiting(self._stuck.undelivered, PERIOD)],
            },
        )
        _row(
            dashboard,
            {
                "Orders refused or failed, by step": [
                    self._failed(step, kind).with_(label=f"{step.action} {kind}")
                    for step in self._steps
                    for kind in ("refused", "fault")
                ],
                "Steps undone": [self._by_step("StepCompensated", step) for step in self._steps],
                "Conflicts with another execution": [self._by_step("OrderConflict", step) for step in self._steps],
            },
        )
        functions = self._functions.values()
        _row(
            dashboard,
            {
                "Function errors (refused orders included)": [f.metric_errors(period=PERIOD) for f in functions],
                "Function duration p99 (ms)": [f.metric_duration(period=PERIOD, statistic="p99") for f in functions],
                "Table": [
                    self._of_table("ConsumedWriteCapacityUnits"),
                    self._of_table("WriteThrottleEvents"),
                    self._of_table("SystemErrors", Operation="UpdateItem"),
                ],
            },
        )


def _waiting(queue: sqs.IQueue, period: Duration) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=period, statistic="Maximum")


def _row(dashboard: cloudwatch.Dashboard, graphs: Mapping[str, Sequence[cloudwatch.IMetric]]) -> None:
    dashboard.add_widgets(
        *(
            cloudwatch.GraphWidget(title=title, left=list(metrics), width=24 // len(graphs))
            for title, metrics in graphs.items()
        )
    )
