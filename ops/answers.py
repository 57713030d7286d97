"""An answer that an operator gives by hand to a step that waits.

It goes through the function that receives all answers, so the row decides about it as about any other one. It names the
request of the step, never the token of the task.
"""

from collections.abc import Mapping

from ops.client import SagaClient
from ops.errors import FunctionFailed, NotAnswered
from ops.model import Wait


def answer(client: SagaClient, order_id: str, wait: Wait, fields: Mapping[str, object]) -> str:
    """Answer the request of a step that waits; return the status of its row.

    Raises NotAnswered if the receiver rejects the answer, or if the stack has no receiver.

    Args:
        client: the client of the stack.
        order_id: the key of the saga.
        wait: the step.
        fields: the answer without what names its request: ``result``, and ``details`` or ``reason``.
    """
    try:
        response = client.answer({client.stack.key: order_id, "step": wait.step, "request": wait.row.request, **fields})
    except FunctionFailed as failure:
        raise NotAnswered(f"the answer was rejected: {failure}") from None
    return str(response["status"]) if isinstance(response, dict) else ""
