"""The trips of the demo."""

from pathlib import Path

from examples.trip_booking.lambdas.trip_steps import STEPS
from local.demo import Demo, Scenario

DEMO = Demo(
    stack="TripSaga",
    module="examples.trip_booking.app",
    specs=STEPS,
    failed="TripFailed",
    folder=Path(__file__).parent / "scenarios",
    scenarios={
        "1-success": Scenario(title="a complete trip"),
        "2-failed-flight": Scenario(title="no flight", fails="reserve_flight"),
        "3-failed-hotel": Scenario(title="no hotel", fails="reserve_hotel"),
        "4-failed-payment": Scenario(title="no card_no", fails="take_payment"),
    },
)
