"""Corrects MiniStack where a custom runtime fails before its first invocation: it loses the error and the log.

On AWS, the response has the error that was raised, with an empty ``requestId`` (LocalStack's snapshots of AWS,
tests/aws/services/lambda_: test_lambda_runtime_error, test_lambda_runtime_exit), and the log has what was printed.
"""

from typing import Any

from ministack.core.lambda_runtime import ProvidedInitTimeout, ProvidedRuntimeError, ProvidedWorker


def install() -> None:
    """Have MiniStack respond as AWS does. Call it before MiniStack serves."""
    invoke = ProvidedWorker.invoke

    def respond(worker: ProvidedWorker, *arguments: Any, **options: Any) -> dict[str, Any]:
        try:
            result: dict[str, Any] = invoke(worker, *arguments, **options)
        except ProvidedRuntimeError:
            # It has AWS's error already.
            raise
        except RuntimeError as error:
            name = "Sandbox.Timedout" if isinstance(error, ProvidedInitTimeout) else "Runtime.ExitError"
            payload = worker._init_error or {"errorType": name, "errorMessage": str(error)}  # noqa: SLF001 (MiniStack has no interface for it)
            return {
                "status": "error",
                "error": str(error),
                "error_payload": payload,
                "cold_start": True,
                "log": worker._drain_stderr(),  # noqa: SLF001 (likewise)
            }
        return result

    ProvidedWorker.invoke = respond
    # It would take the log out of the queue, into the message.
    ProvidedWorker._init_log_suffix = lambda _worker: ""  # noqa: SLF001 (likewise)
