"""The parcels of the demo."""

from examples.parcel_pickup.carrier import answer_in_time, answering
from examples.parcel_pickup.lambdas import parcel_steps
from examples.parcel_pickup.saga import SAGA
from local.demo import Scenario
from local.sagas import demo_of

DEMO = demo_of(
    SAGA,
    specs_module=parcel_steps,
    answer=answer_in_time,
    answering=answering,
    # Two scenarios wait in vain. The task must last longer than its function, 10 s.
    context={"answer_within": "12"},
    scenarios={
        "1-success": Scenario(title="the carrier accepts", responses=("200 ACCEPTED",) * 2),
        "2-declined": Scenario(title="the carrier declines", fails="request_pickup", responses=("200 DECLINED",) * 2),
        "3-silent-carrier": Scenario(title="the carrier never answers", fails="request_pickup"),
        "4-late-answer": Scenario(
            title="the carrier accepts after the rollback", fails="request_pickup", responses=("409 StepCompensated",)
        ),
    },
)
