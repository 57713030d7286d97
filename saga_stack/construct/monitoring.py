"""Alarms, the topic that they publish to, and a dashboard. docs/operations.md says what to do for each alarm."""

from collections.abc import Mapping, Sequence

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from lambdas.saga_runtime.names import state_name
from saga_stack.construct.api import SagaApi
from saga_stack.construct.automatic_redrives import EVERY, AutomaticRedrives
from saga_stack.construct.outcome_events import OutcomeEvents
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Retriable, StepOrGroup, functions_of, longest_wait, single_steps
from saga_stack.construct.stuck_sagas import StuckSagas

PERIOD = Duration.minutes(5)
# Long, because the two events of a clean failure can be counted in two periods.
LOG_PERIOD = Duration.hours(1)
# How late the event of an outcome may be.
LATE_AFTER = Duration.minutes(5)
# Why a step was compensated (saga_runtime/handlers.py), by the title of its graph.
KINDS = {"Steps that rejected their input": "rejected", "Steps that failed": "fault", "Steps rolled back": "rollback"}


class Monitoring(Construct):
    """The alarms, the topic that they publish to, and a dashboard of the same metrics.

    Args:
        stage: the address that receives the alarms, and what a slow execution is.
        steps: the steps of the saga.
        functions: their functions by name, and that of the receiver.
        receiver: the name of the function that receives answers; None if no step waits.
        state_machine: the state machine.
        log: its log.
        table: the table.
        stuck: the queues of stuck sagas, and the function that reports them.
        redrives: the function that redrives sagas; None if the stage has none.
        api: the HTTP API; None if the saga has none.
        outcomes: the events of the saga; None if it has none.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        stage: Stage,
        steps: Sequence[StepOrGroup],
        functions: Mapping[str, lambda_.Function],
        receiver: str | None,
        state_machine: sfn.StateMachine,
        log: logs.ILogGroup,
        table: dynamodb.Table,
        stuck: StuckSagas,
        redrives: AutomaticRedrives | None,
        api: SagaApi | None,
        outcomes: OutcomeEvents | None,
    ) -> None:
        super().__init__(scope, id_)
        self._stack = Stack.of(self).stack_name
        # The steps that a saga rolls back from, each with its compensation or resolution.
        self._compensatable: dict[str, str] = {
            step.action: functions_of(step)[-1] for step in single_steps(steps) if not isinstance(step, Retriable)
        }
        self._retriables = [step.action for step in single_steps(steps) if isinstance(step, Retriable)]
        self._functions = {**functions, **(api.functions if api else {})}
        self._receiver = receiver
        self._machine = state_machine
        self._table = table
        self._stuck = stuck
        self.topic = sns.Topic(self, "Alerts", enforce_ssl=True)
        self._allow_alarms_to_publish()
        if stage.alert_email:
            self.topic.add_subscription(subscriptions.EmailSubscription(stage.alert_email))
        self._alarms: list[cloudwatch.Alarm] = []
        # The time in which an answer may come is not slow.
        self._add_saga_alarms(stage.slow_after + int(longest_wait(steps).total_seconds()))
        self._add_alarm_by_log(log)
        if redrives is not None:
            self._add_redrive_alarms(redrives)
        self._add_function_alarms()
        self._add_table_alarms()
        if api is not None:
            self._add_api_alarms(api)
        if outcomes is not None:
            self._add_outcome_alarms(outcomes)
        self._add_dashboard()

    def _allow_alarms_to_publish(self) -> None:
        """Allow the stack's alarms to publish: a policy on the topic replaces the default one, which allows them.

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

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        description: str,
        *,
        above: float = 0,
        periods: int = 1,
        scope: Construct | None = None,
    ) -> None:
        """Add the alarm ``<stack>-<name>``: it fires in the last period, or in ``periods`` of the last three."""
        alarm = cloudwatch.Alarm(
            scope or self,
            name,
            alarm_name=f"{self._stack}-{name}",
            alarm_description=description,
            metric=metric,
            threshold=above,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=1 if periods == 1 else 3,
            datapoints_to_alarm=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))
        self._alarms.append(alarm)

    def _add_saga_alarms(self, slow_after: int) -> None:
        machine, minute = self._machine, Duration.minutes(1)
        self._alarm(
            "StuckSagas", _visible(self._stuck.queue, minute), "A saga is stuck: `python -m ops stuck` lists it"
        )
        self._alarm(
            "UndeliveredReports",
            _visible(self._stuck.undelivered, minute),
            "A stuck saga was not reported: `python -m ops stuck --scan` finds it",
        )
        # The metrics of a queue that was idle for six hours may be 15 minutes late (SQS Developer Guide, "Available
        # CloudWatch metrics"); this one is not.
        self._alarm(
            "StuckSagaReports", _sum(self._stack, "StuckSaga", {}, period=minute), "The function reported a stuck saga"
        )
        for rule in self._stuck.rules:
            self._add_rule_alarm(
                rule, "EventBridge did not call report_stuck_saga: `python -m ops stuck --scan` finds what it missed"
            )
        self._alarm(
            "ExecutionsTimedOut",
            machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            "Executions timed out, although the stack sets no timeout",
        )
        self._alarm(
            "ExecutionsAborted",
            machine.metric_aborted(period=PERIOD, statistic="Sum"),
            "Somebody stopped executions; they are stuck until they are resumed",
        )
        self._alarm(
            "SlowExecutions",
            machine.metric_time(period=PERIOD, statistic="p99"),
            f"One execution in a hundred takes more than {slow_after} s",
            above=slow_after * 1000,
            periods=3,
        )

    def _add_alarm_by_log(self, log: logs.ILogGroup) -> None:
        """Add an alarm for stuck sagas that needs no event of EventBridge, which may not arrive.

        Step Functions sends its events with best effort (EventBridge Reference, "Delivery level for AWS service
        events"). A clean failure enters the Fail state, a stuck saga does not.
        """
        failed, clean = (
            logs.MetricFilter(
                self,
                event,
                log_group=log,
                filter_pattern=logs.FilterPattern.string_value("$.type", "=", event),
                metric_namespace=self._stack,
                metric_name=event,
            ).metric(statistic="Sum", period=LOG_PERIOD)
            for event in ("ExecutionFailed", "FailStateEntered")
        )
        self._alarm(
            "StuckSagasByLog",
            cloudwatch.MathExpression(
                expression="FILL(failed, 0) - FILL(clean, 0)",
                using_metrics={"failed": failed, "clean": clean},
                period=LOG_PERIOD,
            ),
            "By its log a saga is stuck: `python -m ops stuck --scan` finds it if it was not reported",
        )

    def _add_rule_alarm(self, rule: events.Rule, description: str) -> None:
        self._alarm(
            f"FailedInvocations-{rule.node.id}",
            _sum("AWS/Events", "FailedInvocations", {"RuleName": rule.rule_name}),
            description,
        )

    def _add_redrive_alarms(self, redrives: AutomaticRedrives) -> None:
        self._add_rule_alarm(
            redrives.rule, "EventBridge did not call redrive_stuck_sagas; resume sagas by `python -m ops resume`"
        )
        self._alarm(
            "RedrivesExhausted",
            # The function counts at each call, every 15 minutes.
            _sum(self._stack, "RedrivesExhausted", {}, period=EVERY),
            "A saga is stuck after its last automatic redrive and needs people: `python -m ops stuck` lists it",
        )
        self._alarm(
            "Errors-redrive_stuck_sagas",
            redrives.function.metric_errors(period=EVERY, statistic="Sum"),
            "The function that redrives stuck sagas fails; resume them by `python -m ops resume`",
        )

    def _add_function_alarms(self) -> None:
        for action in self._compensatable:
            self._alarm(
                f"Faults-{action}",
                self._count("StepCompensated", step=state_name(action), kind="fault"),
                f"Sagas are rolled back because {action} fails; rejected inputs do not count",
            )
        for name in (*self._compensatable.values(), *self._retriables):
            self._alarm(
                f"Errors-{name}",
                self._functions[name].metric_errors(period=PERIOD, statistic="Sum"),
                f"{name} fails; after many minutes of retries its sagas are stuck",
                periods=2,
            )
        if self._receiver:
            self._alarm(
                f"Errors-{self._receiver}",
                self._functions[self._receiver].metric_errors(period=PERIOD, statistic="Sum"),
                f"{self._receiver} fails; the sagas that wait for answers time out unless these are sent again",
            )
        for name, function in self._functions.items():
            self._alarm(
                f"Throttles-{name}",
                function.metric_throttles(period=PERIOD, statistic="Sum"),
                f"Calls of {name} exceed the account's concurrency",
                periods=2,
            )
        self._alarm(
            "Errors-report_stuck_saga",
            self._stuck.reporter.metric_errors(period=PERIOD, statistic="Sum"),
            "The function that reports stuck sagas fails; Lambda calls it three times",
        )

    def _add_table_alarms(self) -> None:
        self._alarm(
            "TableThrottles",
            _filled(self._table_metric("WriteThrottleEvents")),
            "Writes to the table are throttled; the sagas retry them",
            periods=2,
        )
        self._alarm(
            "TableSystemErrors",
            _filled(self._table_metric("SystemErrors", Operation="UpdateItem")),
            "DynamoDB fails; the sagas retry",
            periods=2,
        )

    def _add_api_alarms(self, api: SagaApi) -> None:
        self._alarm(
            "ApiErrors",
            api.api.metric_server_error(period=PERIOD, statistic="Sum"),
            "The HTTP API responds 5xx; its clients repeat their requests",
            periods=2,
        )
        for name, function in api.functions.items():
            self._alarm(
                f"Errors-{name}",
                function.metric_errors(period=PERIOD, statistic="Sum"),
                f"{name} fails; its clients get 5xx",
                periods=2,
            )

    def _add_outcome_alarms(self, outcomes: OutcomeEvents) -> None:
        # Under `outcomes`: CloudFormation would make an alarm with another logical id before it deletes the one that
        # has its name.
        self._alarm(
            "UndeliveredOutcomes",
            _visible(outcomes.undelivered, Duration.minutes(1)),
            "Outcomes were not published: docs/api.md says where they are",
            scope=outcomes,
        )
        self._alarm(
            "LateOutcomes",
            outcomes.publisher.metric("IteratorAge", statistic="Maximum", period=PERIOD),
            "publish_outcome fails or falls behind; its events are late, not lost",
            above=LATE_AFTER.to_milliseconds(),
            scope=outcomes,
        )

    def _count(self, name: str, label: str | None = None, **dimensions: str) -> cloudwatch.Metric:
        return _sum(self._stack, name, dimensions, label)

    def _table_metric(self, name: str, **dimensions: str) -> cloudwatch.Metric:
        return _sum("AWS/DynamoDB", name, {"TableName": self._table.table_name, **dimensions})

    def _compensated(self, kind: str) -> list[cloudwatch.IMetric]:
        return [
            self._count("StepCompensated", step=state_name(action), kind=kind, label=action)
            for action in self._compensatable
        ]

    def _add_dashboard(self) -> None:
        machine, functions = self._machine, self._functions.values()
        dashboard = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self._stack)
        dashboard.add_widgets(cloudwatch.AlarmStatusWidget(title="Alarms", alarms=self._alarms, width=24))
        graphs: Mapping[str, Sequence[cloudwatch.IMetric]] = {
            "Executions": [
                machine.metric_started(period=PERIOD, label="started"),
                machine.metric_succeeded(period=PERIOD, label="fulfilled"),
                machine.metric_failed(period=PERIOD, label="rolled back or stuck"),
                machine.metric_timed_out(period=PERIOD, label="timed out"),
                machine.metric_aborted(period=PERIOD, label="aborted"),
            ],
            "Time from start to end (ms)": [
                machine.metric_time(period=PERIOD, statistic=statistic, label=statistic) for statistic in ("p50", "p99")
            ],
            "Stuck sagas": [_visible(self._stuck.queue, PERIOD), _visible(self._stuck.undelivered, PERIOD)],
            **{title: self._compensated(kind) for title, kind in KINDS.items()},
            "Conflicts with another saga": [
                self._count("SagaConflict", step=state_name(action), label=action) for action in self._compensatable
            ],
            "Function errors, rejections included": [f.metric_errors(period=PERIOD) for f in functions],
            "Function duration p99 (ms)": [f.metric_duration(period=PERIOD, statistic="p99") for f in functions],
            "Table": [
                self._table_metric("ConsumedWriteCapacityUnits"),
                self._table_metric("WriteThrottleEvents"),
                self._table_metric("SystemErrors", Operation="UpdateItem"),
            ],
        }
        widgets = [cloudwatch.GraphWidget(title=title, left=list(left), width=8) for title, left in graphs.items()]
        for row in range(0, len(widgets), 3):
            dashboard.add_widgets(*widgets[row : row + 3])


def _visible(queue: sqs.IQueue, period: Duration) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=period, statistic="Maximum")


def _filled(metric: cloudwatch.Metric) -> cloudwatch.MathExpression:
    """Return the metric with 0 for missing data: alarms on AWS/DynamoDB metrics may ignore ``TreatMissingData``."""
    return cloudwatch.MathExpression(expression="FILL(metric, 0)", using_metrics={"metric": metric}, period=PERIOD)


def _sum(
    namespace: str,
    name: str,
    dimensions: Mapping[str, str],
    label: str | None = None,
    period: Duration = PERIOD,
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dimensions,
        period=period,
        statistic="Sum",
        label=label,
    )
