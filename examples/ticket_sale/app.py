"""The CDK app of the ticket saga: its context is ``stage``, ``alert_email`` and ``provider_url``."""

from constructs import Construct

from saga_stack.app import synthesize
from saga_stack.settings import RetryPolicy, Settings
from saga_stack.stack import SagaStack
from saga_stack.steps import Step

# A buyer waits, so the charge is tried three times only. Its functions have time for three writes and the call.
SOON = RetryPolicy(interval=1, backoff_rate=2, max_delay=2, max_attempts=2)
STEPS = (
    Step(action="reserve_seat", compensation="release_seat"),
    Step(action="charge_card", compensation="refund_card", function_timeout=40, task_timeout=60, retry=SOON),
    Step(action="issue_ticket", compensation="void_ticket"),
)


class TicketSagaStack(SagaStack):
    """The ticket saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id_,
            settings=settings,
            description="Sells a ticket as a saga: seat, payment, ticket, or nothing",
            steps=STEPS,
            state_machine="TicketSale",
            partition_key="sale_id",
            failed="SaleFailed",
            environment={"PROVIDER_URL": scope.node.try_get_context("provider_url") or "https://payments.example.com"},
            packages=("examples/ticket_sale/lambdas",),
            handler="examples.ticket_sale.lambdas.handlers.{}",
        )


if __name__ == "__main__":
    synthesize(TicketSagaStack, "TicketSaga")
