"""The trips of the demo."""

from examples.trip_booking.lambdas import trip_steps
from examples.trip_booking.saga import SAGA
from local.demo import Scenario
from local.sagas import demo_of

DEMO = demo_of(
    SAGA,
    specs_module=trip_steps,
    scenarios={
        "1-success": Scenario(title="a complete trip"),
        "2-failed-flight": Scenario(title="no flight", fails="reserve_flight"),
        "3-failed-hotel": Scenario(title="no hotel", fails="reserve_hotel"),
        "4-failed-payment": Scenario(title="no card_no", fails="take_payment"),
    },
)
