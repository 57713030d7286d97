"""The CDK app of the plain saga, the stack ``OrderSaga-plain``.

Alone it is deployed beside the order saga. With ``-c complete=true`` it is only synthesized: it then has the same
resources as the dev stage of the order saga, written plainly.
"""

from pathlib import Path

from aws_cdk import Acknowledgment, App, CfnOutput, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from cdk_nag import AwsSolutionsChecks

STEPS = {"create_order": "delete_order", "process_payment": "refund_payment", "process_shipment": "cancel_shipment"}

app = App()
is_complete = app.node.try_get_context("complete") is not None
stack = Stack(app, "OrderSaga-plain")
code = lambda_.Code.from_asset(str(Path(__file__).parent), exclude=["*", "!functions.py"])
table = dynamodb.Table(
    stack,
    "Table",
    partition_key=dynamodb.Attribute(name="order_id", type=dynamodb.AttributeType.STRING),
    sort_key=dynamodb.Attribute(name="entity", type=dynamodb.AttributeType.STRING),
    billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
    point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
    removal_policy=RemovalPolicy.DESTROY,
)


def log_group(name: str) -> logs.LogGroup:
    """Make a log group that keeps its logs for a week."""
    week, removal = logs.RetentionDays.ONE_WEEK, RemovalPolicy.DESTROY
    return logs.LogGroup(stack, f"{name}-log", log_group_name=name, retention=week, removal_policy=removal)


def function(name: str, dead_letter_queue: sqs.Queue | None = None, **environment: str) -> lambda_.Function:
    """Make a function with its role and log group."""
    return lambda_.Function(
        stack,
        name,
        function_name=f"{stack.stack_name}-{name}",
        runtime=lambda_.Runtime.PYTHON_3_14,
        architecture=lambda_.Architecture.ARM_64,
        code=code,
        handler=f"functions.{name}",
        memory_size=256,
        timeout=Duration.seconds(10),
        tracing=lambda_.Tracing.ACTIVE,
        log_group=log_group(f"/aws/lambda/{stack.stack_name}-{name}"),
        environment=environment,
        dead_letter_queue=dead_letter_queue,
    )


functions: dict[str, lambda_.Function] = {}
states: dict[str, tasks.LambdaInvoke] = {}
for name in (*STEPS.keys(), *STEPS.values()):
    functions[name] = function(name, TABLE_NAME=table.table_name)
    table.grant_write_data(functions[name])
    states[name] = tasks.LambdaInvoke(
        stack,
        "".join(word.capitalize() for word in name.split("_")),
        lambda_function=functions[name],
        # The order passes from state to state; the answers are dropped.
        result_path=sfn.JsonPath.DISCARD,
        retry_on_service_exceptions=False,
    )
    if is_complete:
        states[name].add_retry(errors=["InvalidInput", "SagaConflict", "StepCompensated"], max_attempts=0)
        states[name].add_retry(errors=["States.ALL"], max_attempts=4, jitter_strategy=sfn.JitterType.FULL)

rollback: sfn.IChainable = sfn.Fail(stack, "OrderFailed", error="OrderFailed")
for action, compensation in STEPS.items():
    rollback = states[compensation].next(rollback)
    states[action].add_catch(states[compensation], result_path="$.error")
chain = states["create_order"].next(states["process_payment"]).next(states["process_shipment"])
if is_complete:
    text = tasks.DynamoAttributeValue.from_string
    confirm = tasks.DynamoUpdateItem(
        stack,
        "ConfirmOrder",
        table=table,
        key={"order_id": text(sfn.JsonPath.string_at("$.order_id")), "entity": text("ORDER")},
        update_expression="SET confirmed = :confirmed",
        expression_attribute_values={":confirmed": text("CONFIRMED")},
    )
    confirm.add_retry(errors=["States.ALL"], max_attempts=35, jitter_strategy=sfn.JitterType.FULL)
    chain = chain.next(confirm)
log = log_group(f"/aws/vendedlogs/states/{stack.stack_name}")
machine = sfn.StateMachine(
    stack,
    "OrderFulfilment",
    state_machine_name=f"{stack.stack_name}-OrderFulfilment",
    definition_body=sfn.DefinitionBody.from_chainable(chain),
    logs=sfn.LogOptions(destination=log, level=sfn.LogLevel.ALL),
    tracing_enabled=True,
)
CfnOutput(stack, "StateMachineArn", value=machine.state_machine_arn)
CfnOutput(stack, "TableName", value=table.table_name)
CfnOutput(stack, "StuckSagasQueueUrl", value="none")


if is_complete:
    undelivered = sqs.Queue(stack, "Undelivered", enforce_ssl=True)
    dead_letters = sqs.DeadLetterQueue(queue=undelivered, max_receive_count=1000)
    stuck = sqs.Queue(stack, "Stuck", enforce_ssl=True, dead_letter_queue=dead_letters)
    reporter = function("report", undelivered, QUEUE_URL=stuck.queue_url)
    machine.grant_execution(reporter, "states:DescribeExecution", "states:GetExecutionHistory")
    stuck.grant_send_messages(reporter)
    entries = dynamodb.Table(
        stack,
        "Entries",
        partition_key=dynamodb.Attribute(name="execution_arn", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        removal_policy=RemovalPolicy.DESTROY,
    )
    entries.grant_write_data(reporter)
    faults = [reporter.metric_invocations(), table.metric("WriteThrottleEvents"), table.metric("SystemErrors")]
    for name, statuses in {"Failed": ["FAILED"], "CutOff": ["TIMED_OUT", "ABORTED"]}.items():
        detail = {"stateMachineArn": [machine.state_machine_arn], "status": statuses}
        rule = events.Rule(stack, name, event_pattern=events.EventPattern(source=["aws.states"], detail=detail))
        rule.add_target(targets.LambdaFunction(reporter, dead_letter_queue=undelivered))
        of_rule = {"RuleName": rule.rule_name}
        faults.append(
            cloudwatch.Metric(namespace="AWS/Events", metric_name="FailedInvocations", dimensions_map=of_rule)
        )

    failed, clean = (
        logs.MetricFilter(
            stack,
            event,
            log_group=log,
            filter_pattern=logs.FilterPattern.string_value("$.type", "=", event),
            metric_namespace=stack.stack_name,
            metric_name=event,
        ).metric()
        for event in ("ExecutionFailed", "FailStateEntered")
    )
    by_log = cloudwatch.MathExpression(expression="failed - clean", using_metrics={"failed": failed, "clean": clean})
    queues = [queue.metric_approximate_number_of_messages_visible() for queue in (stuck, undelivered)]
    errors = [invoked.metric_errors() for invoked in (*functions.values(), reporter)]
    throttles = [invoked.metric_throttles() for invoked in functions.values()]
    durations = [invoked.metric_duration(statistic="p99") for invoked in functions.values()]
    ends = [machine.metric_timed_out(), machine.metric_aborted(), machine.metric_time(statistic="p99")]
    topic = sns.Topic(stack, "Alerts", enforce_ssl=True)
    topic.grant_publish(iam.ServicePrincipal("cloudwatch.amazonaws.com"))
    alarms = []
    watched: list[cloudwatch.IMetric] = [*queues, *errors, *throttles, *faults, by_log, *ends]
    for number, metric in enumerate(watched):
        alarm = cloudwatch.Alarm(stack, f"Alarm{number}", metric=metric, threshold=1, evaluation_periods=1)
        alarm.add_alarm_action(actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))
        alarms.append(alarm)
    dashboard = cloudwatch.Dashboard(stack, "Dashboard")
    dashboard.add_widgets(cloudwatch.AlarmStatusWidget(alarms=alarms))
    graphs = [[machine.metric_started(), machine.metric_succeeded()], ends, queues, errors, throttles, faults]
    dashboard.add_widgets(*(cloudwatch.GraphWidget(left=metrics) for metrics in [*graphs, durations]))

    # cdk-nag lists the wildcards of the CDK's own roles and grants one by one.
    machine_id = stack.resolve(machine.state_machine_arn)["Ref"]
    name = f'{{"Fn::Select":[6,{{"Fn::Split":[":",{{"Ref":"{machine_id}"}}]}}]}}'
    wildcards = ["*", f"arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:execution:{name}:*"]
    ids = [stack.resolve(invoked.function_arn)["Fn::GetAtt"][0] for invoked in functions.values()]
    wildcards += [f"<{id_}.Arn>:*" for id_ in ids]
    policy = "arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    for finding in (f"IAM4[Policy::{policy}]", *(f"IAM5[Resource::{wildcard}]" for wildcard in wildcards)):
        accepted = Acknowledgment(id=f"AwsSolutions::AwsSolutions-{finding}", reason="the CDK's own roles and grants")
        Validations.of(stack).acknowledge(accepted)
    Validations.of(app).add_plugins(AwsSolutionsChecks())
app.synth()
