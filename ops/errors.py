"""The expected errors, each with a message of one line: what is wrong, where, and what to do."""

import re

from botocore import exceptions
from botocore.exceptions import ClientError

_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_UNKNOWN_CREDENTIALS = (
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
)
_DENIED = ("AccessDenied", "AccessDeniedException", "KmsAccessDeniedException", "UnauthorizedOperation")
# The request may have been carried out.
NO_RESPONSE = (exceptions.HTTPClientError, exceptions.ConnectionError)
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException")


class OpsError(Exception):
    """An expected error. Its text is the whole message, with the remedy."""


class UnknownStack(OpsError):  # noqa: N818 (the name says what is wrong)
    """The stack does not exist, or is not a saga's."""


class UnknownOrder(OpsError):  # noqa: N818 (the name says what is wrong)
    """The order has no row and no execution."""


class UnknownExecution(OpsError):  # noqa: N818 (the name says what is wrong)
    """Step Functions does not know the execution."""


class FunctionFailed(OpsError):  # noqa: N818 (the name says what is wrong)
    """A function of the saga raised an error, whose name ``error`` and message the text has."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(f"{error}: {message}")
        self.error = error


class NotAnswered(OpsError):  # noqa: N818 (the name says what is wrong)
    """The step does not wait for an answer, or the receiver rejected the answer."""


class NotCancellable(OpsError):  # noqa: N818 (the name says what is wrong)
    """No saga of the order runs, or more than one, or its last step has begun."""


class NotSettleable(OpsError):  # noqa: N818 (the name says what is wrong)
    """The saga runs, has succeeded, can be resumed, or is not the only one."""


class NotResumable(OpsError):  # noqa: N818 (the name says what is wrong)
    """The execution runs, ended cleanly, is too old, or the service has no redrive."""


class ClosedSaga(NotResumable):
    """An operator has closed the saga."""


class LostResponse(OpsError):  # noqa: N818 (the name says what is wrong)
    """The service did not respond to a redrive, which may have begun."""


class NotStoppable(OpsError):  # noqa: N818 (the name says what is wrong)
    """The execution has ended."""


class NoRedrive(NotResumable):
    """The service has no RedriveExecution."""


def is_throttled(error: ClientError) -> bool:
    """Return whether the service rejected a request because there were too many."""
    return error.response.get("Error", {}).get("Code") in _THROTTLED


def explained(error: exceptions.BotoCoreError | ClientError) -> str:
    """Return the message of AWS or its client in one line, with the remedy."""
    text = _service_error(error) if isinstance(error, ClientError) else _client_error(error)
    return re.sub(r"\s+", " ", text).strip()


def _service_error(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "Unknown")
    message = error.response.get("Error", {}).get("Message", "") or "no reason was given"
    if code in _EXPIRED:
        return f"the credentials have expired ({code}): sign in again"
    if code in _UNKNOWN_CREDENTIALS:
        return f"AWS does not accept the credentials ({code}): name others with --profile or AWS_PROFILE"
    if code in _DENIED:
        return f"{error.operation_name} is not allowed: {message}"
    if code in _THROTTLED:
        return f"{error.operation_name} is throttled ({code}): try again in a minute"
    return f"{error.operation_name} failed: {code}: {message}"


def _client_error(error: exceptions.BotoCoreError) -> str:
    match error:
        case exceptions.ProfileNotFound():
            return f"{error}: name another with --profile or AWS_PROFILE"
        case exceptions.NoRegionError() | exceptions.InvalidRegionError():
            return f"{str(error).rstrip('.')}: name one with --region or AWS_DEFAULT_REGION"
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return f"no complete credentials ({error}): name some with --profile or AWS_PROFILE"
        case exceptions.SSOError() | exceptions.TokenRetrievalError() | exceptions.CredentialRetrievalError():
            return f"no valid credentials ({error}): sign in again, for instance with `aws sso login`"
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            return f"the service does not respond: {error}: check --endpoint-url, --region and the network"
    return str(error)
