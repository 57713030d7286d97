"""The policies: the credentials of each function allow what it needs, and nothing else."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.deployment import Deployment
from local.executions import start, wait
from tests.e2e.conftest import Faults
from tests.infrastructure.templates import FUNCTIONS, REPORTER

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

KEY = {"order_id": {"S": "least-privilege"}, "entity": {"S": "ORDER"}}
DENIED = {"AccessDenied", "AccessDeniedException", "AccessDeniedError"}
Call = Callable[[], object]


class Caller:
    """A user of the credentials that one function of a stack runs with."""

    def __init__(self, faults: Faults, name: str) -> None:
        self._cloud, self.stack = faults.deployment.cloud, faults.deployment.stack
        faults.set({name: "return credentials"})
        functions = self._cloud.session().client("lambda", endpoint_url=self._cloud.endpoint)
        answer = functions.invoke(FunctionName=f"{self.stack.name}-{name}", Payload=b"{}")
        self._credentials = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, self._credentials

    def client(self, service: str) -> Any:
        credentials = {name.lower(): value for name, value in self._credentials.items()}
        return self._cloud.session().client(service, endpoint_url=self._cloud.endpoint, **credentials)


def update(caller: Caller, table: str) -> object:
    return caller.client("dynamodb").update_item(
        TableName=table,
        Key=KEY,
        UpdateExpression="SET seen = :true",
        ExpressionAttributeValues={":true": {"BOOL": True}},
    )


def send(caller: Caller, url: str) -> object:
    return caller.client("sqs").send_message(QueueUrl=url, MessageBody='{"executionArn": "none"}')


def store_entry(caller: Caller) -> object:
    """Store the entry of a stuck saga as the reporter does."""
    times = dict.fromkeys(("started_at", "stopped_at"), "2026-01-31T09:30:00.123Z")
    texts = {"name": "none", "status": "FAILED", **times}
    return caller.client("dynamodb").update_item(
        TableName=caller.stack.stuck_sagas_table,
        Key={"execution_arn": {"S": "none"}},
        UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in texts),
        ExpressionAttributeNames={f"#{name}": name for name in texts},
        ExpressionAttributeValues={f":{name}": {"S": text} for name, text in texts.items()},
    )


def forbidden(caller: Caller, other: Deployment) -> dict[str, Call]:
    """Return the calls that no function may make, on its own stack and on another one."""
    own, others = caller.stack, other.stack
    dynamodb, sqs, functions = caller.client("dynamodb"), caller.client("sqs"), caller.client("lambda")
    states, iam, s3, logs = (caller.client(name) for name in ("stepfunctions", "iam", "s3", "logs"))
    row = {**KEY, "status": {"S": "CONFIRMED"}}
    return {
        "read a row": lambda: dynamodb.get_item(TableName=own.table, Key=KEY),
        "query rows": lambda: dynamodb.query(
            TableName=own.table,
            KeyConditionExpression="order_id = :id",
            ExpressionAttributeValues={":id": KEY["order_id"]},
        ),
        "scan the table": lambda: dynamodb.scan(TableName=own.table),
        "put a row": lambda: dynamodb.put_item(TableName=own.table, Item=row),
        "delete a row": lambda: dynamodb.delete_item(TableName=own.table, Key=KEY),
        "write rows in a batch": lambda: dynamodb.batch_write_item(
            RequestItems={own.table: [{"PutRequest": {"Item": row}}]}
        ),
        "write rows in a transaction": lambda: dynamodb.transact_write_items(
            TransactItems=[{"Put": {"TableName": own.table, "Item": row}}]
        ),
        "delete the table": lambda: dynamodb.delete_table(TableName=own.table),
        "update a row of another table": lambda: update(caller, others.table),
        **{
            f"invoke {name}": lambda name=name: functions.invoke(FunctionName=f"{own.name}-{name}", Payload=b"{}")
            for name in FUNCTIONS
        },
        "invoke a function of another stack": lambda: functions.invoke(
            FunctionName=f"{others.name}-create_order", Payload=b"{}"
        ),
        "change a function": lambda: functions.update_function_configuration(
            FunctionName=f"{own.name}-create_order", Timeout=3
        ),
        "start an execution": lambda: states.start_execution(stateMachineArn=own.state_machine_arn, input="{}"),
        "read the entries of stuck sagas": lambda: dynamodb.scan(TableName=own.stuck_sagas_table),
        "remove an entry of a stuck saga": lambda: dynamodb.delete_item(
            TableName=own.stuck_sagas_table, Key={"execution_arn": {"S": "x"}}
        ),
        "put an entry of another stack": lambda: dynamodb.put_item(
            TableName=others.stuck_sagas_table, Item={"execution_arn": {"S": "x"}}
        ),
        "read the queue of stuck sagas": lambda: sqs.receive_message(QueueUrl=own.stuck_sagas_queue_url),
        "empty the queue of stuck sagas": lambda: sqs.purge_queue(QueueUrl=own.stuck_sagas_queue_url),
        "send to the queue of another stack": lambda: send(caller, others.stuck_sagas_queue_url),
        "read a log": lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{own.name}-create_order"),
        "write the log of another function": lambda: logs.create_log_stream(
            logGroupName=f"/aws/lambda/{others.name}-create_order", logStreamName="x"
        ),
        "list buckets": s3.list_buckets,
        "create a user": lambda: iam.create_user(UserName="x"),
    }


def error_code(call: Call) -> str:
    """Return the error code of the call, or that it succeeded."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "allowed"


def not_denied(calls: dict[str, Call]) -> dict[str, str]:
    """Make the calls; return the outcome of each that was not denied."""
    codes = {name: error_code(call) for name, call in calls.items()}
    return {name: code for name, code in codes.items() if code not in DENIED}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_update_rows_of_its_table_and_nothing_else(
    faults: Faults, deployment: Deployment, name: str
) -> None:
    caller = Caller(faults, name)
    update(caller, caller.stack.table)
    assert not not_denied(
        forbidden(caller, deployment)
        | {
            "send to the queue of stuck sagas": lambda: send(caller, caller.stack.stuck_sagas_queue_url),
            "store an entry of a stuck saga": lambda: store_entry(caller),
            "list executions": lambda: caller.client("stepfunctions").list_executions(
                stateMachineArn=caller.stack.state_machine_arn
            ),
        }
    )


def test_the_reporter_may_store_entries_send_to_its_queue_describe_executions_and_nothing_else(
    faults: Faults, deployment: Deployment
) -> None:
    caller = Caller(faults, REPORTER)
    arn = start(faults.deployment, {})
    wait(faults.deployment, arn)
    caller.client("stepfunctions").describe_execution(executionArn=arn)
    send(caller, caller.stack.stuck_sagas_queue_url)
    store_entry(caller)
    assert not not_denied(
        forbidden(caller, deployment)
        | {
            "update a row": lambda: update(caller, caller.stack.table),
            "describe an execution of another stack": lambda: caller.client("stepfunctions").describe_execution(
                executionArn=arn.replace(caller.stack.name, deployment.stack.name)
            ),
        }
    )
