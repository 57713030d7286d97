"""ReportStuckSaga: store an entry for a stuck saga, and send a message about it. Neither has the input.

The entry is what operators list (docs/adr/0019); the message notifies them and fires the alarm. The entry comes first,
so every message has its entry.

EventBridge calls the function when an execution timed out, was aborted, or failed with another error than the clean
one. The function asks Step Functions, and does not report an execution that ended cleanly or was redriven since.

The answers of Step Functions are eventually consistent and may be throttled. Neither suppresses a report: the function
fails, Lambda calls it again, and after three calls the event is in the dead-letter queue, which has an alarm.
"""

import json
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdas.saga_runtime.clock import moment
from lambdas.saga_runtime.errors import InvalidInput
from lambdas.saga_runtime.execution_history import path_of, stopped_in
from lambdas.saga_runtime.observability import NAMESPACE, count, logger
from lambdas.saga_runtime.outcome import Outcome, outcome_of
from lambdas.saga_runtime.outcome_events import OutcomeEvent, publish
from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted
from lambdas.saga_runtime.steps import MAX_ID
from lambdas.saga_runtime.validation import line

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import DescribeExecutionOutputTypeDef

# Four requests end within the function's timeout: the history is one, if it has at most a page of events.
CLIENT_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
# The maximum of GetExecutionHistory (Step Functions API Reference). Its default is 100.
EVENTS_PER_PAGE = 1000
# An event and DescribeExecution may round the same time differently.
SAME_STOP = timedelta(seconds=1)
_QUEUE_URL = os.environ["QUEUE_URL"]
_TABLE = os.environ["STUCK_SAGAS_TABLE"]
_KEY_FIELD = os.environ["KEY_FIELD"]
_CLEAN_ERROR = os.environ["CLEAN_ERROR"]
_SENSITIVE_FIELDS = tuple(filter(None, os.environ["SENSITIVE_FIELDS"].split(",")))
# Where other systems learn of it, and by which event. Default: nowhere.
_EVENT_BUS = os.environ.get("EVENT_BUS")
_STUCK_EVENT = os.environ.get("STUCK_EVENT", "")
_stepfunctions: "SFNClient" = boto3.client("stepfunctions", config=CLIENT_CONFIG)
_dynamodb: "DynamoDBClient" = boto3.client("dynamodb", config=CLIENT_CONFIG)
_sqs: "SQSClient" = boto3.client("sqs", config=CLIENT_CONFIG)


class StaleAnswerError(Exception):
    """Step Functions still describes the execution as it was before it ended."""


def handler(event: dict[str, Any], _context: object) -> dict[str, bool]:
    """Store one entry and send one message, or none if the saga is not stuck or its entry was closed.

    The message has ``executionArn``, ``name``, ``status``, ``startDate`` and ``stopDate`` (milliseconds since 1970),
    ``state``, null if the execution stopped before its first state, ``error``, null if it has none, and ``cause``.

    With an event bus, the outcome is also published there; a repetition may do so twice.

    Raises StaleAnswerError, NotPublishedError, and botocore's errors if a service does not respond.
    """
    detail = event["detail"]
    arn = detail["executionArn"]
    logger.append_keys(saga_id=arn)
    execution = _stepfunctions.describe_execution(executionArn=arn)
    if not _is_stuck(execution, stopped_at=_time(detail["stopDate"])):
        logger.info("not stuck", extra={"status": execution["status"]})
        return {"stuck": False}
    message = {
        **{field: detail[field] for field in ("executionArn", "name", "startDate", "stopDate")},
        "status": execution["status"],
        "state": _stopped_in(arn),
        "error": execution.get("error"),
        "cause": _redacted_cause(execution),
    }
    if not _store(message, key=_key_in(execution.get("input")), redrives=execution.get("redriveCount", 0)):
        logger.info("closed", extra={"status": execution["status"]})
        return {"stuck": False}
    _sqs.send_message(QueueUrl=_QUEUE_URL, MessageBody=json.dumps(message))
    if _EVENT_BUS:
        publish(_events_of(execution), bus=_EVENT_BUS, source=NAMESPACE)
    count("StuckSaga")
    logger.warning("stuck", extra={name: message[name] for name in ("status", "state", "error")})
    return {"stuck": True}


def _store(message: dict[str, Any], *, key: str | None, redrives: int) -> bool:
    """Store the entry of a stuck saga; return whether it is open. A repeated event changes nothing."""
    texts = {
        "started_at": moment(_time(message["startDate"])),
        "stopped_at": moment(_time(message["stopDate"])),
        "saga_key": key,
        **{name: message[name] for name in ("name", "status", "state", "error", "cause")},
    }
    values: dict[str, AttributeValueTypeDef] = {name: {"S": text} for name, text in texts.items() if text is not None}
    values["redrive_count"] = {"N": str(redrives)}
    # The reason of a closure stays: no machine redrives a saga that people have closed (redrive_stuck_sagas.py).
    removes = [*(name for name, text in texts.items() if text is None), "closed_at", "expires_at"]
    sets = ", ".join(f"#{name} = :{name}" for name in values)
    # A late event about an earlier stop must not replace the entry, nor reopen it.
    is_new, is_later = "attribute_not_exists(execution_arn)", "stopped_at < :stopped_at"
    try:
        _dynamodb.update_item(
            TableName=_TABLE,
            Key={"execution_arn": {"S": message["executionArn"]}},
            UpdateExpression=f"SET {sets} REMOVE {', '.join(f'#{name}' for name in removes)}",
            ConditionExpression=f"{is_new} OR {is_later}",
            ExpressionAttributeNames={f"#{name}": name for name in (*values, *removes)},
            ExpressionAttributeValues={f":{name}": value for name, value in values.items()},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        existing = cast("dict[str, object]", error.response.get("Item", {}))
        return "closed_at" not in existing
    return True


def _key_in(execution_input: str | None) -> str | None:
    """Return the saga's key in the input; None if the input has no valid one."""
    input_ = parsed_json(execution_input)
    try:
        return line(_KEY_FIELD, longest=MAX_ID)(input_) if isinstance(input_, dict) else None
    except InvalidInput:
        return None


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _is_stuck(execution: "DescribeExecutionOutputTypeDef", *, stopped_at: datetime) -> bool:
    """Return whether the execution is stuck. Raises StaleAnswerError if the answer is older than the event."""
    outcome = outcome_of(execution, clean_error=_CLEAN_ERROR)
    if outcome is Outcome.RUNNING:
        redriven_at = execution.get("redriveDate")
        is_older = redriven_at is None or redriven_at < stopped_at
    else:
        # The end before a redrive.
        is_older = execution.get("stopDate", stopped_at) < stopped_at - SAME_STOP
    if is_older:
        raise StaleAnswerError("Step Functions does not know yet that the execution has ended")
    return outcome is Outcome.STUCK


def _events_of(execution: "DescribeExecutionOutputTypeDef") -> list[OutcomeEvent]:
    """Return the event that reports the stuck saga; none if its input names no key, which nobody waits for."""
    if (key := _key_in(execution.get("input"))) is None:
        return []
    return [
        OutcomeEvent(
            name=_STUCK_EVENT,
            key=(_KEY_FIELD, key),
            saga=execution["executionArn"],
            time=moment(execution["stopDate"]),
            # Operators find the cause in the queue; other systems cannot act on it.
            reason=execution.get("error") or execution["status"],
        )
    ]


def _stopped_in(arn: str) -> str | None:
    """Return the state that failed, or of several that were under way, the last one entered."""
    pages = _stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=arn, includeExecutionData=False, PaginationConfig={"PageSize": EVENTS_PER_PAGE}
    )
    states = stopped_in(path_of(event for page in pages for event in page["events"]))
    return states[-1] if states else None


def _redacted_cause(execution: "DescribeExecutionOutputTypeDef") -> str:
    input_ = parsed_json(execution.get("input"))
    sensitive = [input_[name] for name in _SENSITIVE_FIELDS if name in input_] if isinstance(input_, dict) else []
    return redacted(message_in(execution.get("cause")) or "no cause was given", sensitive)
