"""The switch that breaks a function on purpose. Only the console of a local cloud has it."""

from typing import Protocol

from flask import Flask, Response, jsonify, request

from ops.console.form import InvalidForm


class Outage(Protocol):
    """An outage that can be switched on and off. ``state`` names the state whose function it breaks."""

    state: str

    @property
    def is_on(self) -> bool:
        """Whether the function is broken."""
        ...

    def begin(self) -> None:
        """Break the function."""
        ...

    def end(self) -> None:
        """Fix the function."""
        ...


def add_outage(app: Flask, outage: Outage) -> None:
    """Add the switch to the first page, and its routes."""
    app.jinja_env.globals["outage"] = outage.state

    @app.get("/api/outage")
    def is_on() -> Response:
        return jsonify({"broken": outage.is_on})

    @app.post("/api/outage")
    def switch() -> Response:
        match request.get_json(silent=True):
            case {"broken": True}:
                outage.begin()
            case {"broken": False}:
                if outage.is_on:
                    outage.end()
            case _:
                raise InvalidForm("the request does not say whether to break or to fix: reload the page")
        return is_on()
