"""After an outage many sagas are stuck by two causes: they are resumed by groups, with a command and without one.

``STUCK=300`` in the environment tries as many.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from local.executions import start_and_wait
from tests.e2e.conftest import Faults
from tests.e2e.operator_commands import Operator
from tests.e2e.orders import valid, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("cloud")]

OF_EACH = int(os.environ.get("STUCK", "8")) // 2
# The functions that fail, by the state in which the sagas get stuck.
CAUSES = {"RefundPayment": "refund_payment", "DeleteOrder": "delete_order"}


class Outage:
    """Sagas that are stuck in two states, since a time."""

    def __init__(self, faults: Faults) -> None:
        self.since = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.operator = Operator(faults)
        self._faults = faults
        self.orders = {state: [valid() for _ in range(OF_EACH)] for state in CAUSES}
        for state, function in CAUSES.items():
            self._set(state, {"process_shipment": "crash before", function: "crash before"})
        orders = [order for orders in self.orders.values() for order in orders]
        with ThreadPoolExecutor(8) as pool:
            ended = pool.map(lambda order: start_and_wait(faults.deployment, order), orders)
            self.executions = [one.arn for one in ended]
        wait_until(lambda: self.stuck() == dict.fromkeys(CAUSES, OF_EACH), "all are reported")

    def _set(self, state: str, faults: dict[str, str]) -> None:
        for order in self.orders[state]:
            self._faults.set(faults, order_id=order["order_id"])

    def fix(self, *states: str) -> None:
        for state in states:
            self._set(state, {})

    def close_others(self) -> None:
        """Close what other tests left stuck: it is in the same groups, and would stop them."""
        for arn in self.operator.stuck().keys() - set(self.executions):
            self.operator("close", arn, "--reason", "left by another test")

    def stuck(self) -> dict[str, int]:
        """Return how many sagas are stuck, by state."""
        found = self.operator.document("stuck", "--since", self.since)["stuck"]
        return dict(Counter(saga["state"] for saga in found))

    def audited(self) -> list[str]:
        """Return the kinds of findings of the audit about these sagas."""
        done = self.operator("audit", "--since", self.since, "--json", status=None)
        own = {order["order_id"] for orders in self.orders.values() for order in orders}
        # Other tests leave rows behind, some of them damaged.
        return sorted({one["kind"] for one in json.loads(done.stdout)["findings"] if one["order_id"] in own})

    def resume(self, *options: str, status: int) -> Sequence[dict[str, object]]:
        done = self.operator("resume", "--since", self.since, "--yes", "--json", *options, status=status)
        groups: list[dict[str, object]] = json.loads(done.stdout)["groups"]
        return sorted(groups, key=lambda group: str(group["state"]))


@pytest.fixture
def outage(faults: Faults) -> Outage:
    return Outage(faults)


def test_one_command_resumes_what_is_fixed_and_stops_the_other_group_after_one(outage: Outage) -> None:
    assert outage.audited() == ["stuck"]
    outage.fix("RefundPayment")
    broken, fixed = outage.resume(status=1)
    assert (fixed["state"], fixed["results"]) == ("RefundPayment", results(recovered=OF_EACH))
    assert (broken["state"], broken["results"]) == (
        "DeleteOrder",
        results(**{"stuck again": 1, "not started": OF_EACH - 1}),
    )
    wait_until(lambda: outage.stuck() == {"DeleteOrder": OF_EACH}, "the one that was tried is reported again")
    outage.fix("DeleteOrder")
    (fixed,) = outage.resume(status=0)
    assert fixed["results"] == results(recovered=OF_EACH)
    assert (outage.stuck(), outage.audited()) == ({}, [])


def test_sagas_that_failed_recover_without_a_command_group_by_group(outage: Outage) -> None:
    outage.close_others()
    outage.fix("RefundPayment")
    assert redrive(outage)["recovered"] >= OF_EACH
    wait_until(lambda: outage.stuck() == {"DeleteOrder": OF_EACH}, "the one that was tried is reported again")
    outage.fix("DeleteOrder")
    assert redrive(outage)["recovered"] >= OF_EACH
    assert (outage.stuck(), outage.audited()) == ({}, [])
    assert not [message for message in outage.operator.messages() if any(arn in message for arn in outage.executions)]


def redrive(outage: Outage) -> dict[str, int]:
    """Call the function that the schedule calls; return what it did."""
    deployment = outage.operator.deployment
    cloud = deployment.cloud
    lambda_ = cloud.session().client("lambda", endpoint_url=cloud.endpoint)
    answer = lambda_.invoke(FunctionName=f"{deployment.stack.name}-redrive_stuck_sagas", Payload=b"{}")
    payload = answer["Payload"].read()
    assert "FunctionError" not in answer, payload
    done: dict[str, int] = json.loads(payload)
    return done


def results(**counts: int) -> dict[str, int]:
    return {name: counts.get(name, 0) for name in ("not started", "running", "recovered", "stuck again", "rejected")}
