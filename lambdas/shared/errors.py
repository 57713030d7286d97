"""The business errors of a saga.

Their class names are the error names that Step Functions sees, and that the state machine refuses to
retry: the answer to a business error is the same however often one asks. Every other error is taken for
a passing fault. This module imports nothing but the standard library, because the stack imports it too.
"""


class BusinessError(Exception):
    """The step was refused for a reason that no retry can change."""


class InvalidOrder(BusinessError):
    """The input is not one the step can work with; the message names the field and what was expected."""


class OrderConflict(BusinessError):
    """Another saga holds this order, or one that started later has already passed here."""


class StepCompensated(BusinessError):
    """The step was compensated by this very saga, so its late action is refused."""


BUSINESS_ERRORS: tuple[str, ...] = tuple(error.__name__ for error in (InvalidOrder, OrderConflict, StepCompensated))
