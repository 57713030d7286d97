"""The switch of the local console that breaks a function, as the server sees it."""

import pytest
from flask.testing import FlaskClient

from ops.console.server import create_app
from tests.ops.conftest import World

HEADERS = {"Host": "127.0.0.1:8080", "X-CSRF-Token": "a token"}


class Switch:
    state = "RefundPayment"
    is_on = False

    def begin(self) -> None:
        self.is_on = True

    def end(self) -> None:
        assert self.is_on, "it is not broken"
        self.is_on = False


@pytest.fixture
def client(world: World) -> FlaskClient:
    hosts = frozenset({HEADERS["Host"]})
    return create_app(world.client, hosts=hosts, presets=(), token="a token", outage=Switch()).test_client()


def test_it_breaks_and_fixes_however_often_it_is_asked(client: FlaskClient) -> None:
    for broken in (True, True, False, False):
        assert client.post("/api/outage", json={"broken": broken}, headers=HEADERS).json == {"broken": broken}
        assert client.get("/api/outage", headers=HEADERS).json == {"broken": broken}


@pytest.mark.parametrize("sent", [{}, {"broken": "yes"}, {"broken": 1}, []])
def test_a_request_that_says_nothing_changes_nothing(client: FlaskClient, sent: object) -> None:
    response = client.post("/api/outage", json=sent, headers=HEADERS)
    assert (response.status_code, "reload the page" in response.text) == (400, True)
    assert client.get("/api/outage", headers=HEADERS).json == {"broken": False}


def test_a_forged_request_changes_nothing(client: FlaskClient) -> None:
    assert client.post("/api/outage", json={"broken": True}, headers={"Host": HEADERS["Host"]}).status_code == 403
    assert client.get("/api/outage", headers=HEADERS).json == {"broken": False}


def test_a_console_of_aws_has_no_switch(world: World) -> None:
    client = create_app(world.client, hosts=frozenset({HEADERS["Host"]}), presets=(), token="a token").test_client()
    assert client.get("/api/outage", headers=HEADERS).status_code == 404
    assert "outage" not in client.get("/", headers=HEADERS).text
