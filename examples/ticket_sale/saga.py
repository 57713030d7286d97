"""The ticket saga: its steps, where its payment provider is, and which functions know the API key."""

from examples.ticket_sale.lambdas.sale_steps import SCHEMA
from saga_stack.construct.saga import Saga
from saga_stack.construct.steps import Retriable, RetryPolicy, Step

# A buyer waits: the authorization is retried twice only.
AUTHORIZATION_RETRY = RetryPolicy(interval=1, backoff_rate=2, max_delay=2, max_attempts=2)
# The functions that call have time for four writes, two readings of the API key and the call.
FUNCTION, TASK = 60, 80
STEPS = (
    Step(action="reserve_seat", compensation="release_seat"),
    Step(
        action="authorize_card",
        compensation="cancel_authorization",
        function_timeout=FUNCTION,
        task_timeout=TASK,
        retry=AUTHORIZATION_RETRY,
    ),
    Step(action="issue_ticket", compensation="void_ticket"),
    Retriable(action="capture_payment", function_timeout=FUNCTION, task_timeout=TASK),
)

SAGA = Saga(
    file=__file__,
    name="TicketSaga",
    description="Sells a ticket as a saga: seat, payment, ticket, or nothing",
    schema=SCHEMA,
    steps=STEPS,
    settings={"PROVIDER_URL": "https://api.stripe.com"},
    secrets={"STRIPE_KEY": ("authorize_card", "cancel_authorization", "capture_payment")},
)
