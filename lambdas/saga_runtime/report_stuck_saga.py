"""ReportStuckSaga: send a message about a stuck saga to the operators' queue. The message never has the input.

EventBridge calls the function when an execution fails, times out or is aborted. The event may not say how the
execution ended: Step Functions delivers events on a best-effort basis, and encrypted executions omit their data.
Therefore the function asks Step Functions, and does not report an execution that ended cleanly or runs again.
"""

import json
import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.saga_runtime.execution_history import path_of, stopped_in
from lambdas.saga_runtime.observability import logger
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
_QUEUE_URL = os.environ["QUEUE_URL"]
_CLEAN_ERROR = os.environ["CLEAN_ERROR"]
_SENSITIVE_FIELDS = tuple(filter(None, os.environ["SENSITIVE_FIELDS"].split(",")))
_stepfunctions: "SFNClient" = boto3.client("stepfunctions", config=_CONFIG)
_sqs: "SQSClient" = boto3.client("sqs", config=_CONFIG)


def handler(event: dict[str, Any], _context: object) -> dict[str, bool]:
    """Send one message, or none if the saga is not stuck. Raises botocore's errors if the queue does not respond.

    The message has ``executionArn``, ``name``, ``status``, ``startDate`` and ``stopDate`` (milliseconds since 1970),
    ``state`` and ``error``, which are null if unknown, and ``cause``.
    """
    detail = event["detail"]
    arn = detail["executionArn"]
    logger.append_keys(saga_id=arn)
    execution = _execution(arn) or {"status": detail["status"]}
    status, error = execution["status"], execution.get("error")
    if status in ("RUNNING", "SUCCEEDED") or (status, error) == ("FAILED", _CLEAN_ERROR):
        logger.info("not stuck", extra={"status": status})
        return {"stuck": False}
    message = {
        **{field: detail.get(field) for field in ("executionArn", "name", "startDate", "stopDate")},
        "status": status,
        "state": _stopped_in(arn),
        "error": error,
        "cause": _redacted_cause(execution),
    }
    _sqs.send_message(QueueUrl=_QUEUE_URL, MessageBody=json.dumps(message))
    logger.warning("stuck", extra={name: message[name] for name in ("status", "state", "error")})
    return {"stuck": True}


def _execution(arn: str) -> dict[str, Any] | None:
    """Return the execution as Step Functions describes it. None on failure: prefer a false alert to a missed one."""
    try:
        return dict(_stepfunctions.describe_execution(executionArn=arn))
    except ClientError:
        logger.exception("the execution cannot be described")
        return None


def _stopped_in(arn: str) -> str | None:
    """Return the state that failed, or of several that were under way, the last one entered. None on failure."""
    try:
        pages = _stepfunctions.get_paginator("get_execution_history").paginate(
            executionArn=arn, includeExecutionData=False
        )
        states = stopped_in(path_of(event for page in pages for event in page["events"]))
        return states[-1] if states else None
    except ClientError:
        logger.exception("the execution's history cannot be read")
        return None


def _redacted_cause(execution: dict[str, Any]) -> str:
    input_ = parsed_json(execution.get("input"))
    sensitive = [input_[name] for name in _SENSITIVE_FIELDS if name in input_] if isinstance(input_, dict) else []
    return redacted(message_in(execution.get("cause")) or "no cause was given", sensitive)
