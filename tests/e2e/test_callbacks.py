"""The parcel saga on the local cloud: its tasks wait for tokens, and a carrier answers by its function URL."""

import io
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from examples.parcel_pickup import carrier
from examples.parcel_pickup.demo import DEMO
from local.cloud import LOOPBACK, LocalCloud
from local.demo import run
from local.deployment import Deployment, deploy
from local.executions import start, statuses, wait

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]


@pytest.fixture(scope="module")
def parcels(cloud: LocalCloud) -> Deployment:
    return deploy(cloud, app=f"{sys.executable} -m {DEMO.module}", name=DEMO.stack, context=DEMO.context)


def answer(parcels: Deployment, fields: Mapping[str, object]) -> str:
    return carrier._send(parcels, fields)


def test_the_parcels_of_the_demo_end_as_the_contract_says(parcels: Deployment, tmp_path: Path) -> None:
    for name in DEMO.scenarios:
        (tmp_path / f"{name}.json").write_text(json.dumps({**DEMO.input(name), "parcel_id": f"demo-{name}"}))
    shown = io.StringIO()
    assert not run(parcels, Console(file=shown), replace(DEMO, folder=tmp_path), DEMO.expected_ends())
    assert "200 DECLINED" in shown.getvalue()


def test_only_the_signed_answer_to_this_saga_completes_its_task(parcels: Deployment) -> None:
    early = {"parcel_id": "p", "step": "request_pickup", "request": "none", **carrier.ACCEPTS}
    assert answer(parcels, early) == "503 AnswerTooEarly"
    arn = start(parcels, {**DEMO.input("1-accepted"), "parcel_id": "p"})
    request = carrier._request(parcels, "p")
    assert answer(parcels, early) == "409 SagaConflict"
    url = carrier._local_url(parcels, carrier._outputs(parcels)["AnswerUrl"])
    body = json.dumps({**request, **carrier.ACCEPTS}).encode()
    unsigned = urllib.request.Request(url, data=body)  # noqa: S310 (loopback)
    with pytest.raises(urllib.error.HTTPError, match="401") as rejection:
        LOOPBACK.open(unsigned, timeout=60)
    rejection.value.close()
    assert statuses(parcels, "p")["PICKUP"] == "REQUESTED"
    assert answer(parcels, {**request, **carrier.ACCEPTS}) == "200 ACCEPTED"
    assert wait(parcels, arn).status == "SUCCEEDED"


def test_a_repeated_action_replaces_the_token_and_an_answer_without_a_task_counts(parcels: Deployment) -> None:
    functions = parcels.cloud.session().client("lambda", endpoint_url=parcels.cloud.endpoint)
    dynamodb = parcels.cloud.session().client("dynamodb", endpoint_url=parcels.cloud.endpoint)
    saga = {"id": "by hand", "started_at": "2026-01-01T00:00:00.000Z"}
    for token in ("token-1", "token-2"):
        event = {"saga": saga, "input": {**DEMO.input("1-accepted"), "parcel_id": "r"}, "task_token": token}
        name = f"{parcels.stack.name}-request_pickup"
        assert "FunctionError" not in functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    key = {"parcel_id": {"S": "r"}, "entity": {"S": "PICKUP"}}
    row = dynamodb.get_item(TableName=parcels.stack.table, Key=key, ConsistentRead=True)["Item"]
    assert (row["task_token"], row["previous_task_token"]) == ({"S": "token-2"}, {"S": "token-1"})
    assert answer(parcels, {**carrier._request(parcels, "r"), **carrier.ACCEPTS}) == "200 ACCEPTED"
