"""The business errors of a saga. Their class names are the error names in the state machine's definition.

The state machine never retries a business error, because a retry gives the same answer. It retries all other errors.
"""


class BusinessError(Exception):
    """A rejection that no retry can change."""


class InvalidInput(BusinessError):
    """The step cannot work with the input. The message names the field and what was expected, never the value."""


class SagaConflict(BusinessError):
    """Another saga owns the row, or a saga that started later has already passed it."""


class StepCompensated(BusinessError):
    """The saga has already compensated the step, so the late action is rejected."""


class StepRejected(BusinessError):
    """The answer to a step that waits (callbacks.py) rejects its work."""


class AnswerTooEarly(Exception):
    """The row of the step is not written yet. The sender sends the answer again later, for a time of its own choice.

    The row knows the last two requests only, so an answer to one before them gets this error for ever.
    """


class KeyExpired(Exception):
    """The provider may have forgotten the idempotency key, so a request with it could be performed once more.

    Its message names the row, what the provider knows the request by, and what to do.
    """


class StepFailed(Exception):
    """A fault in a step, under this name and without sensitive values. Retried like every other fault."""


BUSINESS_ERRORS: tuple[str, ...] = tuple(error.__name__ for error in (InvalidInput, SagaConflict, StepCompensated))
# With the error of a step that waits.
REJECTIONS = (*BUSINESS_ERRORS, StepRejected.__name__)
