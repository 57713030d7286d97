"""The ticket saga: its steps, and where its provider is."""

from examples.ticket_sale.lambdas.sale_steps import SCHEMA
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import RetryPolicy, Step

# A buyer waits: the charge is retried twice only. Its functions have time for three writes and the call.
CHARGE_RETRY = RetryPolicy(interval=1, backoff_rate=2, max_delay=2, max_attempts=2)
STEPS = (
    Step(action="reserve_seat", compensation="release_seat"),
    Step(action="charge_card", compensation="refund_card", function_timeout=40, task_timeout=60, retry=CHARGE_RETRY),
    Step(action="issue_ticket", compensation="void_ticket"),
)

SAGA = Saga(
    file=__file__,
    name="TicketSaga",
    description="Sells a ticket as a saga: seat, payment, ticket, or nothing",
    schema=SCHEMA,
    steps=STEPS,
    settings={"PROVIDER_URL": "https://payments.example.com"},
)
