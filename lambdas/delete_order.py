"""DeleteOrder: undoes CreateOrder; leaves the order DELETED."""

from lambdas.shared.handler import compensation
from lambdas.shared.orders import ORDER

handler = compensation(ORDER)
