"""The parcel saga on the local cloud: its tasks wait for tokens, and a carrier answers by its function URL."""

import json
from collections.abc import Mapping

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from examples.parcel_pickup import carrier
from examples.parcel_pickup.demo import DEMO
from local.cloud import LocalCloud
from local.deployment import Deployment, deploy
from local.executions import start, statuses, wait
from tests import browser as browsers
from tests.consoles import console_of

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


@pytest.fixture(scope="module")
def parcels(cloud: LocalCloud) -> Deployment:
    """Return a stack in which the carrier has two days to answer. The tutorial's test runs the demo."""
    return deploy(cloud, stage="prod", app=DEMO.app, name=DEMO.stack)


def answer(parcels: Deployment, fields: Mapping[str, object]) -> str:
    return carrier._send(parcels, fields)


def test_only_the_signed_answer_to_this_saga_completes_its_task(parcels: Deployment) -> None:
    early = {"parcel_id": "p", "step": "request_pickup", "request": "none", **carrier.ACCEPTS}
    assert answer(parcels, early) == "503 AnswerTooEarly"
    arn = start(parcels, {**DEMO.input("1-success"), "parcel_id": "p"})
    request = carrier._request(parcels, "p")
    assert answer(parcels, early) == "409 SagaConflict"
    body = json.dumps({**request, **carrier.ACCEPTS}).encode()
    assert carrier.receiver_of(parcels).send("POST", "", body, {}).status == 401
    assert statuses(parcels, "p")["PICKUP"] == "REQUESTED"
    assert answer(parcels, {**request, **carrier.ACCEPTS}) == "200 ACCEPTED"
    assert wait(parcels, arn).status == "SUCCEEDED"


def test_a_repeated_action_replaces_the_token_and_an_answer_without_a_task_counts(parcels: Deployment) -> None:
    functions = parcels.cloud.session().client("lambda", endpoint_url=parcels.cloud.endpoint)
    dynamodb = parcels.cloud.session().client("dynamodb", endpoint_url=parcels.cloud.endpoint)
    saga = {"id": "by hand", "started_at": "2026-01-01T00:00:00.000Z"}
    for token in ("token-1", "token-2"):
        event = {"saga": saga, "input": {**DEMO.input("1-success"), "parcel_id": "r"}, "task_token": token}
        name = f"{parcels.stack.name}-request_pickup"
        assert "FunctionError" not in functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    key = {"parcel_id": {"S": "r"}, "entity": {"S": "PICKUP"}}
    row = dynamodb.get_item(TableName=parcels.stack.table, Key=key, ConsistentRead=True)["Item"]
    assert (row["task_token"], row["previous_task_token"]) == ({"S": "token-2"}, {"S": "token-1"})
    assert answer(parcels, {**carrier._request(parcels, "r"), **carrier.ACCEPTS}) == "200 ACCEPTED"


class Waiting:
    """The page of an execution that waits for the carrier."""

    def __init__(self, driver: WebDriver, url: str, name: str) -> None:
        self.driver = driver
        driver.get(f"{url}/execution?name={name}")
        self.until("#waits", "RequestPickup: row PICKUP is REQUESTED. Since ", " Times out ")

    def until(self, selector: str, *words: str) -> None:
        def shown(_driver: WebDriver) -> bool:
            text = " ".join(self.driver.find_element(By.CSS_SELECTOR, selector).text.split())
            return all(word in text for word in words)

        WebDriverWait(self.driver, 60, 0.1).until(shown, f"{words} in {selector}")

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def answer(self, result: str, text: str) -> None:
        """Answer by hand, in the dialog that asks for the text."""
        if not self.driver.find_element(By.ID, "dialog").is_displayed():
            self.click(f"[data-answer={result}]")
        field = self.driver.find_element(By.ID, "dialog-field")
        field.clear()
        field.send_keys(text)
        self.click("#dialog-yes")


@pytest.mark.skipif(browsers.missing() is not None, reason=browsers.missing() or "")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_waiting_saga_is_answered_by_hand(parcels: Deployment, scheme: str) -> None:
    accepted, rejected = f"by-hand-{scheme}", f"not-by-hand-{scheme}"
    for name in (accepted, rejected):
        parcels.client.start({**DEMO.input("3-silent-carrier"), "parcel_id": name}, name=name)
        carrier._request(parcels, name)
    with console_of(parcels, demo=DEMO) as url, browsers.browser() as driver:
        browsers.prefer(driver, scheme)
        for width in (1280, 360):
            browsers.resize(driver, width=width, height=900)
            Waiting(driver, url, accepted)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        page = Waiting(driver, url, accepted)
        token = _token(parcels, accepted)
        assert token not in driver.page_source
        page.answer("accept", "{}")
        page.until("#dialog-error", "the answer was rejected: InvalidInput: driver is missing")
        page.answer("accept", '{"driver": "Ada"}')
        page.until("#outcome", "fulfilled")
        page = Waiting(driver, url, rejected)
        page.answer("reject", "no van")
        page.until("#outcome", "rolled back")
        page.until("#cause", "PICKUP was rejected: no van")
        assert not driver.find_element(By.ID, "waits").is_displayed()
        # The browser itself logs the response to the answer without a driver, and nothing else.
        assert all(" 409 " in problem for problem in browsers.logged(driver, "browser"))
        assert not any(token in request for request in browsers.logged(driver, "performance"))


def _token(parcels: Deployment, parcel_id: str) -> str:
    key = {"parcel_id": {"S": parcel_id}, "entity": {"S": "PICKUP"}}
    item = parcels.client.dynamodb.get_item(TableName=parcels.stack.table, Key=key, ConsistentRead=True)["Item"]
    return item["task_token"]["S"]
