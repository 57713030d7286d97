"""Shows a saga that gets stuck: a compensation may not write, an operator fixes that and resumes the saga."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from lambdas.saga_runtime.names import state_name
from local.cloud import PROJECT
from local.demo import Demo, StuckScenario, add_end, differences, facts
from local.deployment import Deployment
from local.errors import LocalError
from local.executions import EndedExecution, wait
from local.expectations import ExpectedEnd
from local.outage import Outage
from local.processes import running

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# The longest poll of SQS.
POLL_SECONDS = 20


def run(
    deployment: Deployment, console: Console, demo: Demo, scenario: StuckScenario, expected: ExpectedEnd
) -> list[str]:
    """Run the scenario and show it. Return in words what differs from the contract."""
    client = deployment.client
    input_ = {**demo.input(scenario.like), demo.key: scenario.key}
    broken = state_name(scenario.compensation)
    with console.status(f"{scenario.name} is running"):
        with no_writes(deployment, scenario.compensation):
            stuck = wait(deployment, client.start(input_, name=scenario.name))
            alert = _alert(deployment)
        table = facts(demo, input_, stuck, {row.entity: row for row in client.rows(scenario.key)})
        table.add_row("alert", f"a message in the queue of stuck sagas: {alert.get('state')} failed")
        table.add_row("fix", f"{broken} may write again")
        table.add_row("resume", f"python -m ops resume {scenario.name} --yes")
        table.add_row("", escape(_resumed(deployment, scenario.name)))
        ended = wait(deployment, stuck.arn)
        rows = {row.entity: row for row in client.rows(scenario.key)}
    add_end(table, demo, ended, rows)
    console.print()
    console.rule(f"[bold]{escape(scenario.name)}[/bold]: {escape(scenario.title)}", align="left")
    console.print(table)
    found = wrong_stop(stuck, alert, broken)
    found += differences(expected, ended, {entity: row.status for entity, row in rows.items()})
    return [f"{scenario.name}: {problem}" for problem in found]


@contextmanager
def no_writes(deployment: Deployment, function: str) -> Iterator[None]:
    """Deny a function's role to write to any table while the block runs."""
    cloud = deployment.cloud
    outage = Outage(cloud.session(), cloud.endpoint, stack=deployment.stack.name, function=function)
    outage.begin()
    try:
        yield
    finally:
        outage.end()


def _alert(deployment: Deployment) -> Mapping[str, Any]:
    """Return the message of the queue, which stays there; an empty one if none comes."""
    cloud = deployment.cloud
    sqs: SQSClient = cloud.session().client("sqs", endpoint_url=cloud.endpoint)
    url = deployment.stack.stuck_sagas_queue_url
    received = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=POLL_SECONDS)
    message: Mapping[str, Any] = next((json.loads(one["Body"]) for one in received.get("Messages", [])), {})
    return message


def _resumed(deployment: Deployment, name: str) -> str:
    """Run the operator's command; return what it prints. Raises LocalError if it fails."""
    command = [sys.executable, "-m", "ops", "resume", name, "--yes", "--stack", deployment.stack.name]
    file = deployment.cloud.folder / "resume.log"
    environment = deployment.cloud.client_environment()
    with file.open("wb") as output, running(command, cwd=PROJECT, env=environment, output=output) as process:
        status = process.wait()
    printed = file.read_text().strip()
    if status:
        raise LocalError(f"`ops resume` failed with exit status {status}: {printed}")
    return printed


def wrong_stop(stuck: EndedExecution, alert: Mapping[str, Any], broken: str) -> list[str]:
    """Compare where the saga got stuck with where it must."""
    pairs = {
        "its end": (stuck.status, "FAILED"),
        "its last state": (stuck.states[-1], broken),
        "the execution of the alert": (alert.get("executionArn"), stuck.arn),
        "the state of the alert": (alert.get("state"), broken),
    }
    return [f"{name} is {found}, expected {wanted}" for name, (found, wanted) in pairs.items() if found != wanted]
