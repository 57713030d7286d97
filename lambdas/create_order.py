"""CreateOrder: create the order as PENDING. ConfirmOrder, a state of the state machine, makes it CONFIRMED."""

from lambdas.order_steps import STEPS
from lambdas.saga_runtime.handlers import action

handler = action(STEPS["ORDER"])
