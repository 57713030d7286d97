"""The CDK app of the ticket saga. Its context is ``stage``, ``alert_email`` and ``provider_url``."""

from constructs import Construct

from examples.ticket_sale.lambdas.sale_steps import SCHEMA
from saga_stack.construct.app import synthesize
from saga_stack.construct.stack import SagaStack
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import RetryPolicy, Step

# A buyer waits: the charge is retried twice only. Its functions have time for three writes and the call.
CHARGE_RETRY = RetryPolicy(interval=1, backoff_rate=2, max_delay=2, max_attempts=2)
STEPS = (
    Step(action="reserve_seat", compensation="release_seat"),
    Step(action="charge_card", compensation="refund_card", function_timeout=40, task_timeout=60, retry=CHARGE_RETRY),
    Step(action="issue_ticket", compensation="void_ticket"),
)


class TicketSagaStack(SagaStack):
    """The ticket saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, stage: Stage) -> None:
        super().__init__(
            scope,
            id_,
            stage=stage,
            description="Sells a ticket as a saga: seat, payment, ticket, or nothing",
            steps=STEPS,
            state_machine="TicketSale",
            partition_key=SCHEMA.key,
            sensitive_fields=SCHEMA.sensitive,
            failed="SaleFailed",
            environment={"PROVIDER_URL": scope.node.try_get_context("provider_url") or "https://payments.example.com"},
            packages=("examples/ticket_sale/lambdas",),
            handler="examples.ticket_sale.lambdas.handlers.{}",
        )


if __name__ == "__main__":
    synthesize(TicketSagaStack, "TicketSaga")
