"""The order saga: its steps, the write that confirms an order, its API and events, and its stack."""

from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from lambdas import order_steps
from saga_stack.construct.edges import ApiSettings, Jwt, events_of
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import InvalidContextError, Step

STEPS = (
    Step(action="create_order", compensation="delete_order"),
    Step(action="process_payment", compensation="refund_payment"),
    Step(action="process_shipment", compensation="cancel_shipment"),
)


class OrderSagaStack(SagaStack):
    """The order saga of one stage. The context ``api=true`` adds the HTTP API and the events."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        api = order_api(scope)
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="Fulfils an order as a saga: create, pay and ship it, or compensate",
            steps=STEPS,
            state_machine="OrderFulfilment",
            partition_key=order_steps.SCHEMA.key,
            sensitive_fields=order_steps.SCHEMA.sensitive,
            failed="OrderFailed",
            completion=confirm_order,
            api=api,
            events=events_of(order_steps.STEPS["ORDER"]) if api else None,
        )


def order_api(scope: Construct) -> ApiSettings | None:
    """Return the API of the orders (lambdas/order_api.py) by the context; None unless it has ``api=true``.

    ``jwt_issuer`` and ``jwt_audience`` in the context accept bearer tokens instead of IAM signatures.
    """
    api, issuer, audience = map(scope.node.try_get_context, ("api", "jwt_issuer", "jwt_audience"))
    if api not in ("true", "false", True, False, None):
        raise InvalidContextError(f"invalid api '{api}': use -c api=true, or leave it out")
    if bool(issuer) != bool(audience):
        raise InvalidContextError("jwt_issuer and jwt_audience belong together: give both or neither")
    if api not in ("true", True):
        if issuer:
            raise InvalidContextError("jwt_issuer and jwt_audience need the API: add -c api=true")
        return None
    return ApiSettings(
        path=order_steps.API_PATH,
        start="start_order",
        outcome="get_order",
        cancel="cancel_order",
        handler="lambdas.order_api.{}",
        jwt=Jwt(issuer=issuer, audience=audience) if issuer else None,
    )


def confirm_order(scope: Construct, *, table: dynamodb.ITable, timeout: sfn.Timeout) -> sfn.TaskStateBase:
    """Make ConfirmOrder: it makes this saga's PENDING order CONFIRMED. Idempotent.

    Its input is the answer of the last action, so that it need not name a field of the order.
    """
    text = tasks.DynamoAttributeValue.from_string
    return tasks.DynamoUpdateItem(
        scope,
        "ConfirmOrder",
        table=table,
        key={"order_id": text(sfn.JsonPath.string_at("$.answer.order_id")), "entity": text("ORDER")},
        update_expression="SET #status = :confirmed, confirmed_at = if_not_exists(confirmed_at, :now)",
        condition_expression="saga_id = :saga_id AND saga_started_at = :saga_started_at"
        " AND #status IN (:pending, :confirmed)",
        expression_attribute_names={"#status": "status"},
        expression_attribute_values={
            ":saga_id": text(sfn.JsonPath.execution_id),
            ":saga_started_at": text(sfn.JsonPath.execution_start_time),
            ":pending": text("PENDING"),
            ":confirmed": text("CONFIRMED"),
            ":now": text(sfn.JsonPath.state_entered_time),
        },
        # A result of more than 256 KiB would fail with an error that nothing catches. The row is always smaller: see
        # MAX_STORED in lambdas/saga_runtime/steps.py. UPDATED_NEW may omit what a repetition leaves unchanged.
        return_values=tasks.DynamoReturnValues.ALL_NEW,
        # The output of the execution: never the input, which has the card number.
        result_selector={
            "order_id": sfn.JsonPath.string_at("$.Attributes.order_id.S"),
            "status": sfn.JsonPath.string_at("$.Attributes.status.S"),
        },
        task_timeout=timeout,
    )
