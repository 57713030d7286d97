"""The parcels of the demo."""

from pathlib import Path

from examples.parcel_pickup.carrier import answering
from examples.parcel_pickup.lambdas.parcel_steps import STEPS
from local.demo import Demo, Scenario

DEMO = Demo(
    stack="ParcelSaga",
    module="examples.parcel_pickup.app",
    specs=STEPS,
    failed="ParcelFailed",
    folder=Path(__file__).parent / "scenarios",
    answering=answering,
    # Two scenarios wait in vain. The task must last longer than its function, 10 s.
    context={"answer_within": "12"},
    scenarios={
        "1-accepted": Scenario(title="the carrier accepts", responses=("200 ACCEPTED",) * 2),
        "2-declined": Scenario(title="the carrier declines", fails="request_pickup", responses=("200 DECLINED",) * 2),
        "3-silent-carrier": Scenario(title="the carrier never answers", fails="request_pickup"),
        "4-late-answer": Scenario(
            title="the carrier accepts after the rollback", fails="request_pickup", responses=("409 StepCompensated",)
        ),
    },
)
