"""CreateOrder: opens the order as PENDING; ConfirmOrder, in the state machine, makes it CONFIRMED."""

from lambdas.shared.handler import action
from lambdas.shared.orders import ORDER

handler = action(ORDER)
