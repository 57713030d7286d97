"""The commands that draw: ``graph``, and the console. Their options stand here, so that __main__ stays a list."""

import argparse
import ipaddress
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ops.arguments import ArgumentParser
from ops.definition import Definition, read_definition
from ops.errors import OpsError
from ops.graph import mermaid
from ops.markdown import with_graph
from ops.pictures import svg
from ops.progress import progress_of
from ops.sagas import Sagas

if TYPE_CHECKING:
    from argparse import _SubParsersAction

DEFAULT_PORT = 8080
LOOPBACK = "127.0.0.1"
EXPOSE = "--let-anyone-who-reaches-it-start-and-resume-orders"


def add_graph(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """``graph``: the state machine as Mermaid text or as a picture."""
    graph = commands.add_parser("graph", parents=[common], help="the state machine drawn, with an execution's progress")
    graph.add_argument(
        "execution", nargs="?", metavar="EXECUTION", help="an execution's name or ARN; without: the plain graph"
    )
    graph.add_argument(
        "--format", choices=("mermaid", "svg"), default="mermaid", help="text, or a picture by a headless Chromium"
    )
    graph.add_argument("--direction", choices=("LR", "TD"), default="LR", help="across or down (default: %(default)s)")
    graph.add_argument(
        "--definition", type=Path, metavar="FILE", help="draw this definition (JSON); no stack is needed"
    )
    graph.add_argument(
        "--into", type=Path, nargs="+", metavar="FILE", help="renew the drawings in these Markdown files"
    )
    graph.set_defaults(run=draw)


def add_console(commands: "_SubParsersAction[ArgumentParser]", common: ArgumentParser) -> None:
    """``console``: the web page."""
    # Here, so that no other command waits for the server's library.
    from ops.console.form import PRESETS  # noqa: PLC0415

    console = commands.add_parser(
        "console", parents=[common], help="a web page on this machine: start sagas, watch, resume"
    )
    console.add_argument("--port", type=port, default=DEFAULT_PORT, help="(default: %(default)s; 0 for any free one)")
    console.add_argument("--host", type=host, default=LOOPBACK, help="the address to listen on (default: %(default)s)")
    console.add_argument(
        EXPOSE,
        action="store_true",
        dest="expose",
        help="needed for an address that is not loopback: no login: who reaches it acts with your credentials",
    )
    console.add_argument(
        "--presets",
        type=Path,
        default=PRESETS,
        metavar="FOLDER",
        help="orders to start from, NAME.json each; of the order saga alone (default: the four of the demo)",
    )
    console.set_defaults(run=serve_console)


def draw(sagas: Sagas | None, options: argparse.Namespace) -> int:
    """Print or write the graph; without ``sagas``, that of the definition in a file."""
    if options.definition and options.execution:
        raise OpsError("an execution is drawn in its own definition: leave out --definition or EXECUTION")
    if options.into and options.format != "mermaid":
        raise OpsError(f"Markdown files hold Mermaid: leave out --into or --format {options.format}")
    text = _graph(sagas, options)
    if options.into:
        for file in options.into:
            _renew(file, text)
        return 0
    shown = text if options.format == "mermaid" else svg(text)
    sys.stdout.write(json.dumps({options.format: shown}, indent=2) + "\n" if "json" in options else shown)
    return 0


def serve_console(sagas: Sagas, options: argparse.Namespace) -> int:
    """Serve the web page until interrupted."""
    from ops.console.server import Address, serve  # noqa: PLC0415 (no other command waits for the server's library)

    address = Address(host=options.host, port=options.port)
    if not address.is_loopback and not options.expose:
        raise OpsError(
            f"{options.host} is not loopback, and the console has no login: whoever reaches it could read all orders, "
            f"start some and resume sagas with your credentials: if you want that, say {EXPOSE}"
        )

    def ready(url: str) -> None:
        sys.stdout.write(f"The console of {sagas.stack.name}: {url}\nCtrl-C ends it.\n")
        sys.stdout.flush()

    serve(sagas, address, presets=options.presets, ready=ready)
    return 0


def _graph(sagas: Sagas | None, options: argparse.Namespace) -> str:
    if sagas is None:
        return mermaid(_in_file(options.definition), direction=options.direction)
    definition = read_definition(sagas.definition(options.execution), where=sagas.stack.state_machine_arn)
    progress = progress_of(definition, sagas.saga(options.execution)) if options.execution else None
    return mermaid(definition, progress=progress, direction=options.direction)


def _in_file(file: Path) -> Definition:
    try:
        return read_definition(file.read_text(encoding="utf-8"), where=str(file))
    except (OSError, UnicodeError) as error:
        raise OpsError(f"{file} cannot be read ({error}): name a file that holds a definition") from None


def _renew(file: Path, graph: str) -> None:
    try:
        old = file.read_text(encoding="utf-8")
        if (new := with_graph(old, graph, where=str(file))) != old:
            file.write_text(new, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise OpsError(f"{file} cannot be renewed ({error}): name a Markdown file") from None


def port(text: str) -> int:
    """The port that a text means, for argparse."""
    if not text.isascii() or not text.isdigit() or not (text == "0" or 1024 <= int(text) <= 65535):  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected a number from 1024 to 65535, or 0")
    return int(text)


def host(text: str) -> str:
    """The address that a text means, for argparse; one of a single interface, since the Host header is checked."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if text == "localhost" else text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address: expected such as 127.0.0.1") from None
    if address.is_unspecified:
        raise argparse.ArgumentTypeError(f"{text} is every interface: name the address of one")
    return str(address)
