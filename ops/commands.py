"""The commands ``graph`` and ``console``."""

import argparse
import ipaddress
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ops.arguments import ArgumentParser, port
from ops.client import SagaClient
from ops.definition import Definition, read_definition
from ops.errors import OpsError
from ops.graph import mermaid
from ops.markdown import with_graph
from ops.output import print_text
from ops.pictures import svg
from ops.progress import progress_of
from ops.saga_steps import DEFAULT_MODULE, add_steps_argument

if TYPE_CHECKING:
    from argparse import _SubParsersAction

DEFAULT_PORT = 8080
LOOPBACK = "127.0.0.1"
EXPOSE = "--expose-without-login"
# The inputs of the order saga, DEFAULT_MODULE.
ORDERS = Path(__file__).parent.parent / "local" / "scenarios"


def add_graph(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``graph``, which draws the state machine."""
    graph = commands.add_parser("graph", parents=[common], help="draw the state machine, or an execution's progress")
    graph.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="a name, an ARN or an order id (default: no progress)"
    )
    graph.add_argument(
        "--format", choices=("mermaid", "svg"), default="mermaid", help="svg needs Chromium (default: %(default)s)"
    )
    graph.add_argument("--direction", choices=("LR", "TD"), default="LR", help="across or down (default: %(default)s)")
    graph.add_argument("--definition", type=Path, metavar="FILE", help="draw the definition in this file: no stack")
    graph.add_argument("--into", type=Path, nargs="+", metavar="FILE", help="replace the drawings in Markdown files")
    graph.set_defaults(run=draw)


def add_console(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """Add ``console``, which serves the web console."""
    console = commands.add_parser("console", parents=[common], help="serve a web page: start sagas, watch, resume")
    console.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 for any free one (default: %(default)s)")
    console.add_argument("--host", type=host, default=LOOPBACK, help="the address to listen on (default: %(default)s)")
    console.add_argument(
        EXPOSE,
        action="store_true",
        dest="expose",
        help="allow an address that is not loopback: everybody who reaches it acts with your credentials",
    )
    console.add_argument(
        "--presets",
        type=Path,
        metavar="FOLDER",
        help="inputs to start from, NAME.json each (default: the demo's orders for the order saga)",
    )
    add_steps_argument(console)
    console.set_defaults(run=serve_console)


def draw(client: SagaClient | None, options: argparse.Namespace) -> int:
    """Print the graph, or write it into files. The client is None if the definition is in a file."""
    if options.definition and options.execution:
        raise OpsError("an execution has its own definition: omit --definition or EXECUTION")
    if options.into and options.format != "mermaid":
        raise OpsError(f"Markdown files contain Mermaid: omit --into or --format {options.format}")
    graph = _graph(client, options)
    if options.into:
        for file in options.into:
            _replace_drawings(file, graph)
        return 0
    output = graph if options.format == "mermaid" else svg(graph)
    print_text(json.dumps({options.format: output}, indent=2) + "\n" if "json" in options else output)
    return 0


def serve_console(client: SagaClient, options: argparse.Namespace) -> int:
    """Serve the web console until interrupted."""
    # Here, because the server's library takes long to import.
    from ops.console.server import Address, serve  # noqa: PLC0415

    address = Address(host=options.host, port=options.port)
    if not address.is_loopback and not options.expose:
        raise OpsError(
            f"{options.host} is not loopback, and the console has no login: everybody who reaches it could read, start "
            f"and resume sagas with your credentials: pass {EXPOSE} to allow that"
        )

    def ready(url: str) -> None:
        print_text(f"The console of {client.stack.name}: {url}\nPress Ctrl-C to stop.\n")

    orders = ORDERS if options.steps == DEFAULT_MODULE else None
    serve(client, address, steps=options.steps, presets=options.presets or orders, ready=ready)
    return 0


def host(text: str) -> str:
    """Read the address of one interface, as an argparse type: the console checks the Host header against it."""
    try:
        address = ipaddress.ip_address(LOOPBACK if text == "localhost" else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid address {text!r}: use one such as {LOOPBACK}") from None
    if address.is_unspecified:
        raise argparse.ArgumentTypeError(f"{text} is every interface: use the address of one")
    return str(address)


def _port(text: str) -> int:
    return 0 if text == "0" else port(text)


def _graph(client: SagaClient | None, options: argparse.Namespace) -> str:
    if client is None:
        return mermaid(_definition_in(options.definition), direction=options.direction)
    execution = client.find(options.execution).arn if options.execution else None
    definition = read_definition(client.definition(execution), where=client.stack.state_machine_arn)
    progress = progress_of(definition, client.saga_run(execution)) if execution else None
    return mermaid(definition, progress=progress, direction=options.direction)


def _definition_in(file: Path) -> Definition:
    try:
        return read_definition(file.read_text(encoding="utf-8"), where=str(file))
    except (OSError, UnicodeError) as error:
        raise OpsError(f"cannot read {file} ({error}): name a file with a definition") from None


def _replace_drawings(file: Path, graph: str) -> None:
    try:
        old = file.read_text(encoding="utf-8")
        if (new := with_graph(old, graph, where=str(file))) != old:
            file.write_text(new, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise OpsError(f"cannot change {file} ({error}): name a Markdown file") from None
