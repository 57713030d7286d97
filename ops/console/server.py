"""The console's addresses. Pages are HTML; everything under ``/api/`` is JSON, an error ``{"error": TEXT}``."""

import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from flask import Flask, Response, abort, jsonify, make_response, render_template, request, send_file
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from lambdas.shared import orders
from ops.console.form import BadForm, Order, Preset, input_of, order_of, read_presets, refusal_of
from ops.console.protection import DRAWING_POLICY, MAX_BODY, protected, require_known_host, require_own_page
from ops.console.watch import Watch
from ops.documents import moment
from ops.errors import NotResumable, OpsError, UnknownExecution, UnknownOrder, explained
from ops.pictures import mermaid_script
from ops.sagas import Sagas
from ops.words import printable

STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where the console listens. ``port`` 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether nobody but this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


def serve(sagas: Sagas, address: Address, *, presets: Path, ready: Callable[[str], None]) -> None:
    """Serve until interrupted; ``ready`` is told the URL. Raises OpsError if the port is taken or a part is missing."""
    mermaid_script()
    found = read_presets(presets)
    with listening(address) as listener:
        port: int = listener.getsockname()[1]
        app = create_app(sagas, hosts=names_of(address.host, port), presets=found)
        server = server_of(app, listener)
        ready(f"http://{_bracketed(address.host)}:{port}/")
        server.serve_forever()
        # It ends by Ctrl-C alone, which Werkzeug keeps to itself.
        raise KeyboardInterrupt


def server_of(app: Flask, listener: socket.socket) -> BaseWSGIServer:
    """A server of the application that takes its requests from the listener, several at a time."""
    host, port = listener.getsockname()[:2]
    return make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())


def create_app(sagas: Sagas, *, hosts: frozenset[str], presets: tuple[Preset, ...], token: str | None = None) -> Flask:
    """The application; ``hosts`` are the values of the Host header that it answers to."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider that Flask has unless it is told another
    token = token or secrets.token_urlsafe(32)

    @app.before_request
    def check() -> None:
        require_known_host(hosts)
        require_own_page(token)

    app.after_request(protected)
    app.register_error_handler(Exception, _failed)
    watch = Watch(sagas)
    _add_pages(app, watch, presets=presets, token=token)
    _add_questions(app, watch)
    _add_orders(app, watch, presets=presets)
    return app


def _add_pages(app: Flask, watch: Watch, *, presets: tuple[Preset, ...], token: str) -> None:
    stack = {"stack": watch.sagas.stack.name, "token": token, "noun": watch.noun}

    @app.get("/")
    def home_page() -> str:
        return render_template(
            "home.html",
            **stack,
            statuses=STATUSES,
            of_orders=watch.of_orders,
            key=watch.sagas.stack.key,
            presets=[preset.told() for preset in presets],
            fields=orders.SCHEMA.fields,
        )

    @app.get("/execution")
    def execution_page() -> str:
        return render_template("execution.html", **stack, name=request.args.get("name", ""))

    @app.get("/order")
    def order_page() -> str:
        return render_template("order.html", **stack, order_id=request.args.get("id", ""))

    @app.get("/drawing")
    def drawing() -> Response:
        response = make_response(render_template("drawing.html"))
        response.headers["Content-Security-Policy"] = DRAWING_POLICY
        return response

    @app.get("/mermaid.js")
    def mermaid() -> Response:
        return send_file(mermaid_script(), mimetype="text/javascript", max_age=3600)


def _add_questions(app: Flask, watch: Watch) -> None:
    @app.get("/api/executions")
    def listed() -> Response:
        status = request.args.get("status", "")
        if status and status not in STATUSES:
            abort(400, f"there is no such status: expected one of {', '.join(STATUSES)}")
        return jsonify(watch.listed(status=status, token=request.args.get("token")))

    @app.get("/api/execution")
    def execution() -> Response:
        return jsonify(watch.execution(_asked("name")))

    @app.get("/api/order")
    def order() -> Response:
        return jsonify(watch.order(_asked("id")))

    @app.get("/api/stuck")
    def stuck() -> Response:
        if "again" in request.args:
            watch.look_again()
        return jsonify(watch.stuck())


def _add_orders(app: Flask, watch: Watch, *, presets: tuple[Preset, ...]) -> None:
    key = watch.sagas.stack.key

    def meant(form: dict[str, Any]) -> Order:
        return order_of(form, presets) if watch.of_orders else input_of(form, key)

    @app.post("/api/check")
    def check() -> Response:
        order = meant(_form())
        refusal = refusal_of(order) if watch.of_orders else None
        if refusal:
            return jsonify({"step": refusal.step, "reason": refusal.reason})
        held = watch.holder(str(order[key]))
        return jsonify({"step": None, "reason": None, "held_by": held.saga_id if held else None})

    @app.post("/api/start")
    def start() -> ResponseReturnValue:
        form = _form()
        order = meant(form)
        name = form.get("name") or None
        if name is not None and not isinstance(name, str):
            raise BadForm("the execution's name is no text: reload the page")
        try:
            arn = watch.sagas.start(order, name=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ExecutionAlreadyExists":
                return jsonify({"error": _taken(name, watch.noun), "existing": name}), HTTPStatus.CONFLICT
            card = order.get("card_no")
            told = explained(error)
            # Should the service quote the input.
            return jsonify(
                {"error": told.replace(card, "(card number)") if isinstance(card, str) and card else told}
            ), 502
        return jsonify({"name": arn.rsplit(":", 1)[-1], "execution_arn": arn})

    @app.post("/api/resume")
    def resume() -> Response:
        execution = _form().get("execution")
        if not isinstance(execution, str) or not execution:
            raise BadForm("no execution was named: reload the page")
        saga = watch.sagas.stuck_saga(execution)
        at = watch.sagas.resume(saga)
        watch.look_again()
        return jsonify({"resumed": saga.execution.name, "state": saga.state, "at": moment(at)})


def _taken(name: str | None, noun: str) -> str:
    return (
        f"An execution named {printable(name or '')} exists already, perhaps of this very {noun}. "
        "A name can be used again 90 days after its execution has ended: choose another execution name."
    )


def _form() -> dict[str, Any]:
    form = request.get_json(silent=True)
    if not isinstance(form, dict):
        raise BadForm("the request is no JSON object: reload the page")
    return form


def _asked(name: str) -> str:
    if not (value := request.args.get(name, "")):
        abort(400, f"{name} is missing in the address")
    return value


def _failed(error: Exception) -> ResponseReturnValue:
    """Every failure in one line; a page for a person who looks at one, JSON for a page that asks."""
    status, told = _told(error)
    if request.path.startswith("/api/"):
        return jsonify({"error": told}), status
    return f"{status}: {told}\n", status, {"Content-Type": "text/plain; charset=utf-8"}


def _told(error: Exception) -> tuple[int, str]:
    match error:
        case HTTPException():
            return error.code or 500, error.description or error.name
        case UnknownExecution() | UnknownOrder():
            return 404, str(error)
        case NotResumable():
            return 409, str(error)
        case OpsError():
            return 400, str(error)
        case BotoCoreError() | ClientError():
            return 502, explained(error)
    # Its text may quote what was sent.
    return 500, f"the console failed ({type(error).__name__}): this is a mistake in it"


def listening(address: Address) -> socket.socket:
    """A socket that listens there. Raises OpsError if the port is taken or the address is none of this machine."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise OpsError(
            f"{address.host}:{address.port} cannot be used ({error.strerror}): "
            "end what runs there or choose another port with --port, or CONSOLE_PORT= of make"
        ) from None
    listener.listen()
    return listener


def names_of(host: str, port: int) -> frozenset[str]:
    """What a browser may call the console in its Host header; no other name leads here on purpose."""
    names = {_bracketed(host)}
    if ipaddress.ip_address(host).is_loopback:
        names |= {"localhost", "127.0.0.1", "[::1]"}
    return frozenset(f"{name}:{port}" for name in names)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _QuietHandler(WSGIRequestHandler):
    """Writes no line for each request: addresses name orders."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing is logged."""
