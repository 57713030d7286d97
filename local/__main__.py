"""Runs ``python -m local demo``, ``serve`` and ``expect``; the Makefile calls the first two.

Exit status: 0 as expected, 1 an execution did not end as the contract says, 2 it could not run, 130 interrupted.
"""

import contextlib
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.exceptions
from rich.console import Console
from rich.markup import escape

from lambdas.order_steps import API_PATH
from local import stuck_saga
from local.api import commands_of, edges_of
from local.cloud import (
    HOST,
    PROJECT,
    READY_WITHIN_SECONDS,
    LocalCloud,
    free_port,
    last_line,
    local_cloud,
    require_free_port,
)
from local.demo import Demo, Provider, run
from local.deployment import Deployment, bootstrap, cdk_environment, deploy, put_secrets
from local.errors import LocalError
from local.expectations import ExpectedEnd
from local.interrupts import Interrupted, raise_if_closed, raise_interrupted, terminals
from local.order_demo import ORDER_DEMO
from local.processes import running
from local.sagas import demo_in, demo_named, example_names
from ops.arguments import ArgumentParser, port
from ops.executions import DeployedStack

if TYPE_CHECKING:
    import subprocess

DEFAULT_PORT = 4566
CONSOLE_LOG = "console.log"

console = Console(highlight=False, soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _parser().parse_args(arguments)
    raise_interrupted()
    try:
        demo = demo_in(options.path) if options.path else _demo_of(options.example)
        match options.command:
            case "demo":
                return _demo(demo, options.example, options.path)
            case "expect":
                print(json.dumps({name: asdict(end) for name, end in demo.expected_ends().items()}))
                return 0
        return _serve(demo, options.port, options.console_port, with_api=options.api)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except botocore.exceptions.BotoCoreError as error:
        print(f"error: the local cloud does not respond: {error}", file=sys.stderr)
        return 2
    except Interrupted:
        print("\nInterrupted; the local cloud is stopped.", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m local", description="Run the order saga, or an example, on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("demo", help="run some inputs on a local cloud and show how each one ends")
    commands.add_parser("expect", help="print how each input of the demo must end, as JSON")
    serve = commands.add_parser("serve", help="keep a local cloud with the stack running until Ctrl-C")
    for command in commands.choices.values():
        which = command.add_mutually_exclusive_group()
        which.add_argument("--example", metavar="NAME", help="a folder of examples/ instead of the order saga")
        which.add_argument("--path", metavar="FOLDER", type=Path, help="the folder of a saga outside of the project")
    serve.add_argument("--port", type=port, default=DEFAULT_PORT, help="port on 127.0.0.1 (default: %(default)s)")
    serve.add_argument("--api", action="store_true", help="with the HTTP API and the events of the order saga")
    serve.add_argument("--console-port", type=port, help="also serve the web console on this port of 127.0.0.1")
    return parser


def _demo_of(name: str | None) -> Demo:
    if not name:
        return ORDER_DEMO
    if name not in (known := example_names()):
        raise LocalError(f"invalid example {name!r}: use EXAMPLE= with {' or '.join(known)}")
    return demo_named(name)


class _Progress:
    """Prints each step with the time since the start."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()

    def __call__(self, step: str) -> None:
        console.print(f"[dim]{time.monotonic() - self._started_at:5.1f} s[/dim]  {escape(step)}")


def _deployed(
    cloud: LocalCloud, progress: _Progress, demo: Demo, provider: Provider | None, context: Mapping[str, str]
) -> Deployment:
    progress("cdk bootstrap")
    with console.status("cdk bootstrap"):
        bootstrap(cloud)
    progress("cdk deploy: a table, functions, a state machine, two queues; about 10 s")
    context = {**context, **(provider.context if provider else {})}
    with console.status("cdk deploy"):
        deployment = deploy(cloud, app=demo.app or demo.module, name=demo.stack, context=context)
    if provider:
        put_secrets(deployment, provider.secrets)
    return deployment


def _demo(demo: Demo, example: str | None, path: Path | None) -> int:
    progress = _Progress()
    progress("starting the local cloud on loopback, with IAM policies enforced")
    # A saga that gets stuck is shown without the half hour of its retries.
    settings = {"SFN_WAIT_SCALE": "0"} if demo.stuck else None
    with demo.serving() as provider, local_cloud(free_port(), settings) as cloud:
        with _expected_ends(cloud, example, path) as expected_ends:
            deployment = _deployed(cloud, progress, demo, provider, demo.context)
            expected = expected_ends()
        progress(f"{len(demo.scenarios) + bool(demo.stuck)} {demo.noun}s")
        differences = run(deployment, console, demo, expected, provider)
        if demo.stuck and not differences:
            differences += stuck_saga.run(deployment, console, demo, demo.stuck, expected[demo.stuck.like])
        console.print()
        progress("stopping the local cloud")
    if differences:
        for difference in differences:
            print(f"error: {difference}", file=sys.stderr)
        return 1
    progress(f"done: every {demo.noun} ended as the contract says")
    if path is None:
        _print_next(example)
    return 0


def _print_next(example: str | None) -> None:
    option = f" EXAMPLE={example}" if example else ""
    commands = {
        f"make local{option}": "keeps such a cloud running, with a web console, and shows commands for the AWS CLI",
        "make test": "runs all tests",
        f"make deploy{option} STAGE=dev": "deploys the same stack to your AWS account",
    }
    width = max(map(len, commands))
    console.print("\nNext:")
    for command, description in commands.items():
        console.print(f"  {command:<{width}}  {description}", markup=False)


@contextlib.contextmanager
def _expected_ends(
    cloud: LocalCloud, example: str | None, path: Path | None
) -> Iterator[Callable[[], dict[str, ExpectedEnd]]]:
    """Derive in the background how each scenario must end; yield a function that returns it. Raises LocalError.

    It takes a process of its own: the steps' module imports the CDK, whose Node.js must not receive Ctrl-C.
    """
    file = cloud.folder / "expected.json"
    which = ["--example", example] if example else ["--path", str(path.resolve())] if path else []
    command = [sys.executable, "-m", "local", "expect", *which]

    def result() -> dict[str, ExpectedEnd]:
        if status := process.wait():
            raise LocalError(f"`local expect` failed with exit status {status}: {last_line(file)}")
        return {name: ExpectedEnd(**end) for name, end in json.loads(file.read_text()).items()}

    with file.open("wb") as output, running(command, cwd=PROJECT, env=cdk_environment(cloud), output=output) as process:
        yield result


def _serve(demo: Demo, port: int, console_port: int | None, *, with_api: bool) -> int:
    progress = _Progress()
    watched = terminals()
    if with_api and demo is not ORDER_DEMO:
        raise LocalError("the examples have no HTTP API: leave out API= or EXAMPLE=")
    if console_port == port:
        raise LocalError(f"PORT and CONSOLE_PORT are both {port}: choose another port with CONSOLE_PORT=")
    if console_port:
        require_free_port(console_port, option="CONSOLE_PORT=")
    progress(f"starting the local cloud on {HOST}:{port}, with IAM policies enforced")
    with demo.serving() as provider, local_cloud(port) as cloud:
        deployment = _deployed(cloud, progress, demo, provider, {"api": "true"} if with_api else {})
        api_commands = _api_commands(deployment, demo) if with_api else ""
        with _web_console(cloud, deployment, demo, console_port, commands=api_commands) as web_console:
            progress("ready")
            console.print(f"\n{_commands(cloud, deployment.stack, demo)}", markup=False)
            if api_commands:
                console.print(f"\n{api_commands}", markup=False)
            if console_port:
                console.print(f"\nThe web console: http://{HOST}:{console_port}/", markup=False)
            console.print("\nCtrl-C stops it.", markup=False)
            while True:
                time.sleep(1)
                raise_if_closed(watched)
                cloud.require_running()
                _require_running(web_console, cloud)


@contextlib.contextmanager
def _web_console(
    cloud: LocalCloud, deployment: Deployment, demo: Demo, port: int | None, *, commands: str
) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Serve the web console, with the local cloud's credentials, while the block runs. Raises LocalError.

    It has a switch that breaks the compensation that gets stuck in the demo, and shows commands to try.
    """
    if port is None:
        yield None
        return
    command = [sys.executable, "-m", "local.console", str(os.getpid()), deployment.stack.name, str(port)]
    command += [demo.specs_module.__name__, str(demo.folder), demo.stuck.compensation if demo.stuck else "", commands]
    with (
        (cloud.folder / CONSOLE_LOG).open("wb") as log,
        running(command, cwd=PROJECT, env=cloud.client_environment(), output=log) as process,
    ):
        _wait_until_served(port, process, cloud)
        yield process


def _wait_until_served(port: int, process: "subprocess.Popen[bytes]", cloud: LocalCloud) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while time.monotonic() < deadline:
        _require_running(process, cloud)
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.05)
    raise LocalError(f"the web console did not start within {READY_WITHIN_SECONDS} s")


def _require_running(web_console: "subprocess.Popen[bytes] | None", cloud: LocalCloud) -> None:
    if web_console and (status := web_console.poll()) is not None:
        raise LocalError(f"the web console ended with exit status {status}: {last_line(cloud.folder / CONSOLE_LOG)}")


def _commands(cloud: LocalCloud, stack: DeployedStack, demo: Demo) -> str:
    """Return what to type in another terminal."""
    exports = "\n".join(f"  export {name}={value}" for name, value in cloud.client_settings.items())
    name = next(iter(demo.scenarios))
    file = demo.folder / f"{name}.json"
    url = f"file://{file.relative_to(PROJECT) if file.is_relative_to(PROJECT) else file}"
    input_, sensitive = demo.input(name), demo.schema.sensitive
    key = str(input_[stack.key])
    values = {":id": {"S": key}}
    direct = {field: value for field, value in input_.items() if field not in sensitive} | {stack.key: "direct"}
    action = next(iter(demo.specs.values())).action
    # The default of the command line is the order saga's stack.
    option = "" if demo is ORDER_DEMO else f" --stack {stack.name}"
    return f"""In another terminal, for the AWS CLI (`. .venv/bin/activate` puts it on PATH):
{exports}

Start an execution, and see its end and its path:
  EXECUTION=$(aws stepfunctions start-execution --query executionArn --output text \\
    --state-machine-arn {stack.state_machine_arn} \\
    --input {shlex.quote(url)})
  while aws stepfunctions describe-execution --execution-arn $EXECUTION --query status \\
    | grep -q RUNNING; do sleep 1; done
  aws stepfunctions describe-execution --execution-arn $EXECUTION
  aws stepfunctions get-execution-history --execution-arn $EXECUTION \\
    --query 'events[].stateEnteredEventDetails.name'

Its rows:
  aws dynamodb query --table-name {stack.table} \\
    --key-condition-expression '{stack.key} = :id' --expression-attribute-values {shlex.quote(json.dumps(values))}

One function without the state machine:
  echo {shlex.quote(json.dumps(direct))} | aws lambda invoke \\
    --function-name {stack.name}-{action} --payload fileb:///dev/stdin /dev/stdout

The operator's commands:
  python -m ops list{option}
  python -m ops show {shlex.quote(key)}{option}"""


def _api_commands(deployment: Deployment, demo: Demo) -> str:
    """Return what to type in another terminal for the API and the events."""
    name = next(iter(demo.scenarios))
    file = (demo.folder / f"{name}.json").relative_to(PROJECT)
    key = str(demo.input(name)[deployment.stack.key])
    return commands_of(edges_of(deployment), path=API_PATH, file=str(file), key=key)


if __name__ == "__main__":
    sys.exit(main())
