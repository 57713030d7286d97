"""``python -m local demo`` and ``python -m local serve``: see the Makefile, which calls them.

Exit status: 0 as expected, 1 an order ended otherwise than the contract says, 2 it could not run,
130 interrupted.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import botocore.exceptions
from rich.console import Console
from rich.markup import escape

from local import demo
from local.cloud import (
    HOST,
    PROJECT,
    READY_WITHIN_SECONDS,
    LocalCloud,
    free_port,
    last_line,
    local_cloud,
    refuse_taken_port,
)
from local.deployment import Deployment, bootstrap, deploy
from local.errors import LocalError
from local.orders import Orders
from local.processes import running
from ops.arguments import ArgumentParser

if TYPE_CHECKING:
    import subprocess

DEFAULT_PORT = 4566
PORTS = range(1024, 65536)
CONSOLE_LOG = "console.log"

console = Console(highlight=False, soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    # SIGTERM and the closing of the terminal end it like Ctrl-C: through the clean-up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return (
            _demo(demo.example(options.example), f" EXAMPLE={options.example}" if options.example else "")
            if options.command == "demo"
            else _serve(demo.example(options.example), options.port, options.console_port)
        )
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except botocore.exceptions.BotoCoreError as error:
        print(f"error: the local cloud does not answer: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted; the local cloud is stopped.", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m local", description="The order saga, or an example, on a cloud of your own machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("demo", help="run a few orders on a local cloud and show how each one ends")
    show.add_argument("--example", metavar="NAME", help="a folder of examples/ instead of the order saga")
    serve = commands.add_parser("serve", help="keep a local cloud with the stack running until Ctrl-C")
    serve.add_argument("--example", metavar="NAME", help="a folder of examples/ instead of the order saga")
    serve.add_argument("--port", type=_port, default=DEFAULT_PORT, help="port on 127.0.0.1 (default: %(default)s)")
    serve.add_argument("--console-port", type=_port, help="also serve the web console on this port of 127.0.0.1")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) not in PORTS:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected a number from {PORTS[0]} to {PORTS[-1]}")
    return int(text)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Steps:
    """Says what is being done and how long it has taken so far."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self, doing: str) -> None:
        console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {escape(doing)}")


def _deployed(
    cloud: LocalCloud, step: _Steps, example: demo.Example = demo.ORDER_SAGA, service: demo.Service | None = None
) -> Deployment:
    step("cdk bootstrap")
    with console.status("cdk bootstrap"):
        bootstrap(cloud)
    step("cdk deploy: a table, functions, a state machine, two queues; about 10 s")
    app = f"{sys.executable} -m {example.module}" if example.module else None
    with console.status("cdk deploy"):
        return deploy(cloud, app=app, name=example.stack, context=service.context if service else None)


def _demo(example: demo.Example, chosen: str) -> int:
    step = _Steps()
    step("starting the local cloud on loopback, IAM policies enforced")
    with example.service() as service, local_cloud(free_port()) as cloud:
        orders = Orders(_deployed(cloud, step, example, service), key=example.key)
        step(f"{len(example.expected)} {example.noun}s")
        differences = demo.run(orders, console, example, service)
        console.print()
        step("stopping the local cloud")
    if differences:
        for difference in differences:
            print(f"error: {difference}", file=sys.stderr)
        return 1
    step(f"done: every {example.noun} ended as it should, and nothing is half done")
    following = {
        f"make local{chosen}": "keeps such a cloud running, with a web console, and says what to type for the AWS CLI",
        "make test": "runs all tests",
        f"make deploy{chosen} STAGE=dev": "deploys the same stack to your AWS account",
    }
    width = max(map(len, following))
    console.print("\nNext:")
    for command, does in following.items():
        console.print(f"  {command:<{width}}  {does}", markup=False)
    return 0


def _serve(example: demo.Example, port: int, console_port: int | None) -> int:
    step = _Steps()
    if console_port == port:
        raise LocalError(f"PORT and CONSOLE_PORT are both {port}: choose another port with CONSOLE_PORT=")
    if console_port:
        refuse_taken_port(console_port, option="CONSOLE_PORT=")
    step(f"starting the local cloud on 127.0.0.1:{port}, IAM policies enforced")
    with example.service() as service, local_cloud(port) as cloud:
        deployment = _deployed(cloud, step, example, service)
        with _web_console(cloud, deployment, console_port) as web_console:
            step("ready")
            console.print(f"\n{_what_to_paste(cloud, deployment, example)}", markup=False)
            if console_port:
                console.print(f"\nThe web console: http://{HOST}:{console_port}/", markup=False)
            console.print("\nCtrl-C stops it.", markup=False)
            while True:
                time.sleep(1)
                cloud.require_running()
                _require_running(web_console, cloud)


@contextlib.contextmanager
def _web_console(
    cloud: LocalCloud, deployment: Deployment, port: int | None
) -> Iterator["subprocess.Popen[bytes] | None"]:
    """Serve the web console while the block runs, with the local cloud's credentials and none of the caller's.

    It answers when the block begins. Raises LocalError if it does not.
    """
    if port is None:
        yield None
        return
    command = [sys.executable, "-m", "local.console", str(os.getpid())]
    options = ["--stack", deployment.stack, "--port", str(port)]
    with (
        (cloud.folder / CONSOLE_LOG).open("wb") as log,
        running([*command, *options], cwd=PROJECT, env=cloud.client_environment(), output=log) as process,
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


def _what_to_paste(cloud: LocalCloud, deployment: Deployment, example: demo.Example) -> str:
    settings = "\n".join(f"  export {name}={value}" for name, value in cloud.client_settings.items())
    name = next(iter(example.expected))
    file = (example.scenarios / f"{name}.json").relative_to(PROJECT)
    id_ = example.scenario(name)[example.key]
    # A default of the command line names the order saga's stack.
    stack = "" if example is demo.ORDER_SAGA else f" --stack {deployment.stack}"
    return f"""In another terminal, for the AWS CLI (`. .venv/bin/activate` brings one):
{settings}

Start {"an" if example.noun[0] in "aeiou" else "a"} {example.noun}, and see how it went:
  EXECUTION=$(aws stepfunctions start-execution --query executionArn --output text \\
    --state-machine-arn {deployment.state_machine_arn} \\
    --input file://{file})
  aws stepfunctions describe-execution --execution-arn $EXECUTION
  aws stepfunctions get-execution-history --execution-arn $EXECUTION \\
    --query 'events[].stateEnteredEventDetails.name'

Its rows:
  aws dynamodb query --table-name {deployment.table} \\
    --key-condition-expression '{example.key} = :id' --expression-attribute-values '{{":id": {{"S": "{id_}"}}}}'

What an operator sees, and what became of it:
  python -m ops list{stack}
  python -m ops show {id_}{stack}{_one_function(deployment) if example is demo.ORDER_SAGA else ""}"""


def _one_function(deployment: Deployment) -> str:
    return f"""

One function directly:
  echo '{{"order_id":"6","total":100}}' | aws lambda invoke \\
    --function-name {deployment.stack}-create_order --payload fileb:///dev/stdin /dev/stdout"""


if __name__ == "__main__":
    sys.exit(main())
