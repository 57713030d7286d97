"""Tells the operators' queue of a saga that is stuck: which, where, why and since when; never its input.

It is called with the event of an execution that has ended badly. The event may leave out how (Step Functions
promises no more than its best effort, and encrypted executions keep their data to themselves), so Step
Functions is asked: an execution that ended cleanly after all, or that runs again, is not reported.
"""

from lambdas.shared import startup

# isort: split
import json
import os
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.shared.aws import client
from lambdas.shared.causes import in_words, without_card
from lambdas.shared.observability import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import HistoryEventTypeDef

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
_ENDS = ("ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut")
_QUEUE_URL = os.environ["QUEUE_URL"]
_CLEAN_ERROR = os.environ["CLEAN_ERROR"]
_stepfunctions: "SFNClient" = client("stepfunctions", _CONFIG)
_sqs: "SQSClient" = client("sqs", _CONFIG)


def handler(event: dict[str, Any], _context: object) -> dict[str, bool]:
    """Send one message, or none if the saga is not stuck. Raises botocore's errors if the queue cannot be reached.

    The message: ``executionArn``, ``name``, ``status``, ``startDate`` and ``stopDate`` (milliseconds since 1970),
    ``state`` and ``error``, null if they cannot be found out, and ``cause``, which then says so.
    """
    told = event["detail"]  # and nothing else: the rule hands on these few fields
    arn = told["executionArn"]
    logger.append_keys(saga_id=arn)
    found = _execution(arn) or {"status": told["status"]}
    if found["status"] in ("RUNNING", "SUCCEEDED") or (found["status"], found.get("error")) == ("FAILED", _CLEAN_ERROR):
        logger.info("not stuck", extra={"status": found["status"]})
        return {"stuck": False}
    message = {
        **{field: told.get(field) for field in ("executionArn", "name", "startDate", "stopDate")},
        "status": found["status"],
        "state": _stopped_in(arn),
        "error": found.get("error"),
        "cause": without_card(in_words(found.get("cause")), json.loads(found.get("input", "null"))),
    }
    _sqs.send_message(QueueUrl=_QUEUE_URL, MessageBody=json.dumps(message))
    logger.warning("stuck", extra={name: message[name] for name in ("status", "state", "error")})
    return {"stuck": True}


def _execution(arn: str) -> dict[str, Any] | None:
    """What Step Functions says of it now; None if it does not say: better an alert too many than one too few."""
    try:
        return dict(_stepfunctions.describe_execution(executionArn=arn))
    except ClientError:
        logger.exception("the execution cannot be described")
        return None


def _stopped_in(arn: str) -> str | None:
    """The state that failed; of an execution that was stopped, the one under way that was entered last."""
    try:
        pages = _stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=arn, reverseOrder=True, includeExecutionData=False
        )
        return _unfinished(event for page in pages for event in page["events"])
    except ClientError:
        logger.exception("the execution's history cannot be read")
    return None


def _unfinished(newest_first: "Iterable[HistoryEventTypeDef]") -> str | None:
    """The state that the newest event links back to; without links, the last one that was entered and not left.

    ExecutionFailed links to the failure, and that step by step to the entrance of the state that failed; in a parallel
    group another state may have been entered later. ExecutionAborted and ExecutionTimedOut link to nothing. The links
    are described in ops/path.py.
    """
    linked: int | None = None
    left: set[str] = set()
    for event in newest_first:
        if event["type"] in _ENDS:
            # Local clouds let the task under way go on, and tell of it after the end.
            linked = None
            left.clear()
        if "stateExitedEventDetails" in event:
            left.add(event["stateExitedEventDetails"]["name"])
        if linked in (None, event["id"]):
            linked = event.get("previousEventId", 0)
        elif linked:
            continue
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            if name not in left:
                return name
            left.discard(name)
    return None


startup.done()
