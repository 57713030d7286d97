"""The parcels of the demo."""

from pathlib import Path

from examples.parcel_pickup.lambdas.parcel_steps import STEPS
from local.demo import Demo, Scenario

DEMO = Demo(
    stack="ParcelSaga",
    module="examples.parcel_pickup.app",
    specs=STEPS,
    failed="ParcelFailed",
    folder=Path(__file__).parent / "scenarios",
    scenarios={
        "1-accepted": Scenario(title="the carrier accepts"),
        "2-declined": Scenario(title="the carrier declines", fails="request_pickup"),
        "3-silent-carrier": Scenario(title="the carrier never answers", fails="request_pickup"),
        "4-late-answer": Scenario(title="the carrier accepts after the rollback", fails="request_pickup"),
    },
)
