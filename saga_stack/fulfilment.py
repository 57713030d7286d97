"""The order saga as data: its steps, and the write that completes it."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from saga_stack.steps import Step

STEPS = (
    Step(action="create_order", compensation="delete_order"),
    Step(action="process_payment", compensation="refund_payment"),
    Step(action="process_shipment", compensation="cancel_shipment"),
)
FAILED = "OrderFailed"


def confirm_order(scope: Construct, *, table: dynamodb.ITable, timeout: sfn.Timeout) -> sfn.TaskStateBase:
    """ConfirmOrder: makes this saga's PENDING order CONFIRMED; once more changes nothing.

    Its input is the answer of the last action, so that the order's own fields need not be named here.
    """
    text = tasks.DynamoAttributeValue.from_string
    no_events = tasks.DynamoAttributeValue.from_list([])
    event = tasks.DynamoAttributeValue.from_map(
        {
            "status": text("CONFIRMED"),
            "saga_id": text(sfn.JsonPath.execution_id),
            "at": text(sfn.JsonPath.state_entered_time),
        }
    )
    return tasks.DynamoUpdateItem(
        scope,
        "ConfirmOrder",
        table=table,
        key={"order_id": text(sfn.JsonPath.string_at("$.answer.order_id")), "entity": text("ORDER")},
        # `confirmation` is what is left to append to the history: at the first delivery it is not there, and the
        # event is appended; from then on it is the empty list.
        update_expression="SET #status = :confirmed, confirmation = :no_events,"
        " history = list_append(history, if_not_exists(confirmation, :event))",
        condition_expression="saga_id = :saga_id AND #status IN (:pending, :confirmed)",
        expression_attribute_names={"#status": "status"},
        expression_attribute_values={
            ":saga_id": text(sfn.JsonPath.execution_id),
            ":pending": text("PENDING"),
            ":confirmed": text("CONFIRMED"),
            ":event": tasks.DynamoAttributeValue.from_list([event]),
            ":no_events": no_events,
        },
        return_values=tasks.DynamoReturnValues.ALL_NEW,
        # The answer of the whole execution: the order and its status, never the input, which holds the card.
        result_selector={
            "order_id": sfn.JsonPath.string_at("$.Attributes.order_id.S"),
            "status": sfn.JsonPath.string_at("$.Attributes.status.S"),
        },
        task_timeout=timeout,
    )
