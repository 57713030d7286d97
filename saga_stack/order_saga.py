"""The order saga: its steps, the write that confirms an order, and its stack."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from lambdas.order_steps import SCHEMA
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import Step

STEPS = (
    Step(action="create_order", compensation="delete_order"),
    Step(action="process_payment", compensation="refund_payment"),
    Step(action="process_shipment", compensation="cancel_shipment"),
)


class OrderSagaStack(SagaStack):
    """The order saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="Fulfils an order as a saga: create, pay and ship it, or compensate",
            steps=STEPS,
            state_machine="OrderFulfilment",
            partition_key=SCHEMA.key,
            sensitive_fields=SCHEMA.sensitive,
            failed="OrderFailed",
            completion=confirm_order,
        )


def confirm_order(scope: Construct, *, table: dynamodb.ITable, timeout: sfn.Timeout) -> sfn.TaskStateBase:
    """Make ConfirmOrder: it makes this saga's PENDING order CONFIRMED. Idempotent.

    Its input is the answer of the last action, so that it need not name a field of the order.
    """
    text = tasks.DynamoAttributeValue.from_string
    entry = tasks.DynamoAttributeValue.from_map(
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
        # `confirmation` is what the history still lacks: the entry at the first delivery, nothing at any later one.
        update_expression="SET #status = :confirmed, confirmation = :no_entries,"
        " history = list_append(history, if_not_exists(confirmation, :entry))",
        condition_expression="saga_id = :saga_id AND #status IN (:pending, :confirmed)",
        expression_attribute_names={"#status": "status"},
        expression_attribute_values={
            ":saga_id": text(sfn.JsonPath.execution_id),
            ":pending": text("PENDING"),
            ":confirmed": text("CONFIRMED"),
            ":entry": tasks.DynamoAttributeValue.from_list([entry]),
            ":no_entries": tasks.DynamoAttributeValue.from_list([]),
        },
        return_values=tasks.DynamoReturnValues.ALL_NEW,
        # The output of the execution: never the input, which has the card number.
        result_selector={
            "order_id": sfn.JsonPath.string_at("$.Attributes.order_id.S"),
            "status": sfn.JsonPath.string_at("$.Attributes.status.S"),
        },
        task_timeout=timeout,
    )
