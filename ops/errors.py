"""What goes wrong foreseeably, each in one line: what, where, and what to do."""

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
_THROTTLED = ("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException")


class OpsError(Exception):
    """A foreseeable mistake or failure; its text is the whole message, one line, the remedy included."""


class UnknownStack(OpsError):  # noqa: N818 (says what it is)
    """There is no such stack, or it is none of a saga."""


class UnknownOrder(OpsError):  # noqa: N818 (says what it is)
    """No row and no execution tells of the order."""


class UnknownExecution(OpsError):  # noqa: N818 (says what it is)
    """Step Functions does not know the execution."""


class NotResumable(OpsError):  # noqa: N818 (says what it is)
    """The execution cannot be resumed: it runs, ended cleanly, is too old, or the service knows no redrive."""


def explained(error: exceptions.BotoCoreError | ClientError) -> str:
    """What AWS or its client says, in one line, with what to do about it."""
    return _one_line(_answered(error) if isinstance(error, ClientError) else _unanswered(error))


def _answered(error: ClientError) -> str:
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


def _unanswered(error: exceptions.BotoCoreError) -> str:
    match error:
        case exceptions.ProfileNotFound():
            return f"{error}: name another with --profile or AWS_PROFILE"
        case exceptions.NoRegionError() | exceptions.InvalidRegionError():
            return f"{str(error).rstrip('.')}: name one with --region or AWS_DEFAULT_REGION"
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return f"there are no complete credentials ({error}): name some with --profile or AWS_PROFILE"
        case exceptions.SSOError() | exceptions.TokenRetrievalError() | exceptions.CredentialRetrievalError():
            return f"no credentials could be had ({error}): sign in again, for instance with `aws sso login`"
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            return f"the service does not answer: {error}: check --endpoint-url, --region and the network"
    return str(error)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
