"""The policies at work: each function's own credentials do what it is there for, and are refused all else."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.deployment import Deployment
from tests.e2e.conftest import Faults
from tests.infrastructure.templates import FUNCTIONS, REPORTER

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

KEY = {"order_id": {"S": "least-privilege"}, "entity": {"S": "ORDER"}}
REFUSED = {"AccessDenied", "AccessDeniedException", "AccessDeniedError"}
Call = Callable[[], object]


class Caller:
    """What can be tried with the credentials that one function of a stack runs under."""

    def __init__(self, faults: Faults, name: str) -> None:
        self.deployment = faults.deployment
        self._credentials = self._told(faults, name)

    def _told(self, faults: Faults, name: str) -> Mapping[str, str]:
        faults.strike({name: "tell credentials"})
        cloud = self.deployment.cloud
        functions = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
        answer = functions.invoke(FunctionName=f"{self.deployment.stack}-{name}", Payload=b"{}")
        told: Mapping[str, str] = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, told
        return told

    def client(self, service: str) -> Any:
        session = boto3.Session(
            aws_access_key_id=self._credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self._credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self._credentials["AWS_SESSION_TOKEN"],
            region_name="us-east-1",
        )
        return session.client(service, endpoint_url=self.deployment.cloud.endpoint)


def update(caller: Caller, table: str) -> object:
    return caller.client("dynamodb").update_item(
        TableName=table,
        Key=KEY,
        UpdateExpression="SET seen = :true",
        ExpressionAttributeValues={":true": {"BOOL": True}},
    )


def attempts(caller: Caller, other: Deployment) -> dict[str, Call]:
    """What none of the functions may do, on their own stack and on another one."""
    own = caller.deployment
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
        "update a row of another table": lambda: update(caller, other.table),
        **{
            f"invoke {name}": lambda name=name: functions.invoke(FunctionName=f"{own.stack}-{name}", Payload=b"{}")
            for name in FUNCTIONS
        },
        "invoke a function of another stack": lambda: functions.invoke(
            FunctionName=f"{other.stack}-create_order", Payload=b"{}"
        ),
        "change a function": lambda: functions.update_function_configuration(
            FunctionName=f"{own.stack}-create_order", Timeout=3
        ),
        "start an execution": lambda: states.start_execution(stateMachineArn=own.state_machine_arn, input="{}"),
        "read the queue of stuck sagas": lambda: sqs.receive_message(QueueUrl=own.stuck_sagas_queue_url),
        "empty the queue of stuck sagas": lambda: sqs.purge_queue(QueueUrl=own.stuck_sagas_queue_url),
        "send to another stack's queue": lambda: sqs.send_message(
            QueueUrl=other.stuck_sagas_queue_url, MessageBody="x"
        ),
        "read a log": lambda: logs.filter_log_events(logGroupName=f"/aws/lambda/{own.stack}-create_order"),
        "write another function's log": lambda: logs.create_log_stream(
            logGroupName=f"/aws/lambda/{other.stack}-create_order", logStreamName="x"
        ),
        "list buckets": s3.list_buckets,
        "make a user": lambda: iam.create_user(UserName="x"),
    }


def refusal(call: Call) -> str:
    """The error code that the call was refused with, or that it was not."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "nothing: it was allowed"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_update_rows_of_its_table_and_is_refused_everything_else(
    faults: Faults, deployment: Deployment, name: str
) -> None:
    caller = Caller(faults, name)
    update(caller, caller.deployment.table)
    tried = attempts(caller, deployment) | {
        "send to the queue of stuck sagas": lambda: caller.client("sqs").send_message(
            QueueUrl=caller.deployment.stuck_sagas_queue_url, MessageBody="x"
        ),
        "look at executions": lambda: caller.client("stepfunctions").list_executions(
            stateMachineArn=caller.deployment.state_machine_arn
        ),
    }
    outcomes = {what: refusal(call) for what, call in tried.items()}
    assert not {what: outcome for what, outcome in outcomes.items() if outcome not in REFUSED}


def test_the_reporter_may_send_to_its_queue_and_look_at_executions_and_is_refused_everything_else(
    faults: Faults, deployment: Deployment
) -> None:
    caller = Caller(faults, REPORTER)
    execution = faults.orders.start({})
    faults.orders.end(execution)
    caller.client("stepfunctions").describe_execution(executionArn=execution)
    caller.client("sqs").send_message(QueueUrl=caller.deployment.stuck_sagas_queue_url, MessageBody="x")
    tried = attempts(caller, deployment) | {
        "update a row": lambda: update(caller, caller.deployment.table),
        "look at another stack's executions": lambda: caller.client("stepfunctions").describe_execution(
            executionArn=execution.replace(caller.deployment.stack, deployment.stack)
        ),
    }
    outcomes = {what: refusal(call) for what, call in tried.items()}
    assert not {what: outcome for what, outcome in outcomes.items() if outcome not in REFUSED}
