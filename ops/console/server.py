"""The routes of the console. Pages are HTML; ``/api/`` answers in JSON, an error as ``{"error": TEXT}``."""

import argparse
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

from lambdas.saga_runtime.redaction import redacted, values_in
from ops.client import SagaClient
from ops.console.form import InvalidForm, Preset, StartForm, answer_of, read_presets
from ops.console.outage import Outage, add_outage
from ops.console.protection import DRAWING_POLICY, MAX_BODY, protected, require_known_host, require_own_page
from ops.console.views import Views
from ops.display import printable
from ops.errors import (
    LostResponse,
    NotAnswered,
    NotCancellable,
    NotResumable,
    NotStoppable,
    OpsError,
    UnknownExecution,
    UnknownOrder,
    explained,
)
from ops.model import Outcome
from ops.pictures import mermaid_script
from ops.saga_steps import DEFAULT_MODULE
from ops.selection import Selection, read_time


@dataclass(frozen=True, kw_only=True)
class Address:
    """The address to listen on. ``port`` 0 stands for a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


def serve(
    client: SagaClient,
    address: Address,
    *,
    steps: str,
    presets: Path | None,
    ready: Callable[[str], None],
    outage: Outage | None = None,
    api_commands: str = "",
) -> None:
    """Serve until Ctrl-C. Raises OpsError if the port is in use, or Mermaid or the presets are missing.

    Args:
        client: the client of the stack.
        address: the address to listen on.
        steps: the module whose STEPS are those of the saga's functions.
        presets: the folder of the presets; None for no presets.
        ready: called with the URL when the console answers.
        outage: a switch that breaks a function on purpose. Default: none.
        api_commands: commands that use the HTTP API, to be shown on the first page. Default: none.
    """
    mermaid_script()
    inputs = read_presets(presets) if presets else ()
    with listening(address) as listener:
        port: int = listener.getsockname()[1]
        hosts = allowed_hosts(address.host, port)
        app = create_app(client, hosts=hosts, steps=steps, presets=inputs, outage=outage, api_commands=api_commands)
        server = server_of(app, listener)
        ready(f"http://{_bracketed(address.host)}:{port}/")
        server.serve_forever()
        # Werkzeug returns after Ctrl-C only, and does not pass it on.
        raise KeyboardInterrupt


def server_of(app: Flask, listener: socket.socket) -> BaseWSGIServer:
    """Return a threaded server of the application on the listener."""
    host, port = listener.getsockname()[:2]
    return make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=listener.fileno())


def create_app(
    client: SagaClient,
    *,
    hosts: frozenset[str],
    steps: str = DEFAULT_MODULE,
    presets: tuple[Preset, ...],
    token: str | None = None,
    outage: Outage | None = None,
    api_commands: str = "",
) -> Flask:
    """Return the application.

    Args:
        client: the client of the stack.
        hosts: the values of the Host header that it accepts.
        steps: the module whose STEPS are those of the saga's functions. Default: the order saga's.
        presets: the inputs to start from, of the saga with these steps.
        token: the token against forged requests. Default: random.
        outage: a switch that breaks a function on purpose. Default: none.
        api_commands: commands that use the HTTP API, to be shown on the first page. Default: none.
    """
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's default provider has it
    token = token or secrets.token_urlsafe(32)

    @app.before_request
    def check() -> None:
        require_known_host(hosts)
        require_own_page(token)

    app.after_request(protected)
    app.register_error_handler(Exception, _failed)
    views = Views(client, steps)
    app.jinja_env.globals["api_commands"] = api_commands
    form = StartForm(client.stack.key, tuple(views.steps.values()), presets if views.steps else ())
    _add_pages(app, views, form, token)
    if outage:
        add_outage(app, outage)
    _add_queries(app, views)
    _add_changes(app, views, form)
    _add_recoveries(app, views)
    return app


def _add_pages(app: Flask, views: Views, form: StartForm, token: str) -> None:
    common = {"stack": views.client.stack.name, "token": token, "noun": views.noun}

    @app.get("/")
    def home_page() -> str:
        return render_template("home.html", **common, outcomes=tuple(Outcome), states=views.states, **form.for_page())

    @app.get("/execution")
    def execution_page() -> str:
        return render_template("execution.html", **common, name=request.args.get("name", ""))

    @app.get("/order")
    def order_page() -> str:
        return render_template("order.html", **common, order_id=request.args.get("id", ""))

    @app.get("/drawing")
    def drawing() -> Response:
        response = make_response(render_template("drawing.html"))
        response.headers["Content-Security-Policy"] = DRAWING_POLICY
        return response

    @app.get("/mermaid.js")
    def mermaid() -> Response:
        return send_file(mermaid_script(), mimetype="text/javascript", max_age=3600)


def _add_queries(app: Flask, views: Views) -> None:
    @app.get("/api/executions")
    def executions() -> Response:
        outcome, selection = _filters()
        if outcome is None and selection.is_all:
            return jsonify(views.executions(token=request.args.get("token")))
        return jsonify(views.chosen(outcome, selection))

    @app.get("/api/execution")
    def execution() -> Response:
        return jsonify(views.execution(_parameter("name")))

    @app.get("/api/replay")
    def replay() -> Response:
        return jsonify(views.replay(_parameter("name")))

    @app.get("/api/outcome")
    def outcome() -> Response:
        return jsonify(views.outcome(_parameter("name")))

    @app.get("/api/history")
    def history() -> Response:
        return jsonify(views.history(_parameter("name")))

    @app.get("/api/order")
    def order() -> Response:
        return jsonify(views.order(_parameter("id")))

    @app.get("/api/stuck")
    def stuck() -> Response:
        return jsonify(views.stuck(refresh="refresh" in request.args))


def _add_changes(app: Flask, views: Views, form: StartForm) -> None:
    @app.post("/api/check")
    def check() -> Response:
        input_ = form.input_of(_body())
        if rejection := form.rejection_of(input_):
            return jsonify({"accepted": False, "text": f"{rejection}. The saga will be rolled back."})
        if owner := views.owner(str(input_[form.key])):
            return jsonify({"accepted": False, "text": _owned(views, owner), "owned": True})
        text = "Every step will accept this." if form.steps else "Ready to send. Each step validates the input."
        return jsonify({"accepted": True, "text": text})

    @app.post("/api/start")
    def start() -> ResponseReturnValue:
        body = _body()
        input_ = form.input_of(body)
        name = body.get("name") or None
        if name is not None and not isinstance(name, str):
            raise InvalidForm("the execution's name is not a text: reload the page")
        try:
            arn = views.client.start(input_, name=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ExecutionAlreadyExists":
                return jsonify({"error": _name_in_use(name, views.noun), "existing": name}), HTTPStatus.CONFLICT
            # The service may quote the input.
            return jsonify({"error": redacted(explained(error), values_in(input_))}), HTTPStatus.BAD_GATEWAY
        return jsonify({"name": arn.rsplit(":", 1)[-1], "execution_arn": arn})


def _add_recoveries(app: Flask, views: Views) -> None:
    @app.post("/api/resume")
    def resume() -> Response:
        return jsonify(views.resume(_named_execution()))

    @app.post("/api/cancel")
    def cancel() -> Response:
        return jsonify(views.cancel(_named_execution()))

    @app.post("/api/answer")
    def answer() -> Response:
        body = _body()
        return jsonify(views.answer(_named_execution(), str(body.get("state")), answer_of(body)))

    @app.post("/api/stop")
    def stop() -> Response:
        views.client.stop(execution := _named_execution())
        return jsonify({"stopped": execution})


def _filters() -> tuple[Outcome | None, Selection]:
    """Return the filters in the address. Raises OpsError if one is invalid."""
    given = {name: value for name, value in request.args.items() if value}
    try:
        outcome = Outcome(given["outcome"]) if "outcome" in given else None
        since, until = (read_time(given[name]) if name in given else None for name in ("since", "until"))
    except ValueError:
        raise OpsError(f"invalid outcome: use one of {', '.join(Outcome)}") from None
    except argparse.ArgumentTypeError as error:
        raise OpsError(str(error)) from None
    return outcome, Selection(state=given.get("state"), error=given.get("error"), since=since, until=until)


def _named_execution() -> str:
    execution = _body().get("execution")
    if not isinstance(execution, str) or not execution:
        raise InvalidForm("the request names no execution: reload the page")
    return execution


def _owned(views: Views, owner: str) -> str:
    name = f"execution {printable(owner.rsplit(':', 1)[-1])}" if owner.startswith("arn:") else "a direct call"
    end = "a new saga will be rejected with SagaConflict and change nothing."
    if views.steps:
        return f"This {views.noun} is owned by {name}: {end}"
    return f"This {views.noun} has rows of {name}: unless they are compensated, {end}"


def _name_in_use(name: str | None, noun: str) -> str:
    return (
        f"An execution named {printable(name or '')} exists already, perhaps of this {noun}. "
        "A name can be used again 90 days after its execution has ended: choose another execution name."
    )


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise InvalidForm("the request is not a JSON object: reload the page")
    return body


def _parameter(name: str) -> str:
    if not (value := request.args.get(name, "")):
        abort(400, f"the address has no {name}: add ?{name}=")
    return value


def _failed(error: Exception) -> ResponseReturnValue:
    """Respond with one line: JSON under ``/api/``, else plain text."""
    status, message = _status_and_message(error)
    if request.path.startswith("/api/"):
        return jsonify({"error": message}), status
    return f"{status}: {message}\n", status, {"Content-Type": "text/plain; charset=utf-8"}


def _status_and_message(error: Exception) -> tuple[int, str]:
    match error:
        case HTTPException():
            return error.code or 500, error.description or error.name
        case UnknownExecution() | UnknownOrder():
            return 404, str(error)
        case NotAnswered() | NotCancellable() | NotResumable() | NotStoppable():
            return 409, str(error)
        case OpsError():
            return 502 if isinstance(error, LostResponse) else 400, str(error)
        case BotoCoreError() | ClientError():
            return 502, explained(error)
    # The text of the error may quote the request.
    return 500, f"the console failed with {type(error).__name__}: this is a bug"


def listening(address: Address) -> socket.socket:
    """Return a socket that listens on the address. Raises OpsError if that is not possible."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
    except OSError as error:
        listener.close()
        raise OpsError(
            f"cannot listen on {address.host}:{address.port} ({error.strerror}): "
            "stop the program that uses it, or choose another port with --port (CONSOLE_PORT= of make)"
        ) from None
    listener.listen()
    return listener


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """Return the values of the Host header that reach the console by its own address."""
    names = {_bracketed(host)}
    if ipaddress.ip_address(host).is_loopback:
        names |= {"localhost", "127.0.0.1", "[::1]"}
    return frozenset(f"{name}:{port}" for name in names)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _QuietHandler(WSGIRequestHandler):
    """A handler without an access log, because addresses name orders."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""
