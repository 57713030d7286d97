"""The four trips of the demo, and how each of them ends."""

from pathlib import Path

from local.demo import Example, Expected

_UNDONE = {"FLIGHT": "CANCELLED", "HOTEL": "CANCELLED"}

EXAMPLE = Example(
    noun="trip",
    stack="TripSaga",
    module="examples.trip_booking.app",
    key="trip_id",
    entities=("FLIGHT", "HOTEL", "PAYMENT"),
    scenarios=Path(__file__).parent / "scenarios",
    expected={
        "1-success": Expected(
            title="a complete trip",
            status="SUCCEEDED",
            states=("Reservations", "ReservationsComplete", "TakePayment", "Confirmations", "Completed"),
            statuses={"FLIGHT": "CONFIRMED", "HOTEL": "CONFIRMED", "PAYMENT": "CHARGED"},
        ),
        "2-failed-flight": Expected(
            title="no flight: ReserveFlight fails while the hotel is reserved",
            status="FAILED",
            error="TripFailed",
            states=("Reservations", "ReservationsComplete", "UndoReservations", "TripFailed"),
            statuses=_UNDONE,
        ),
        "3-failed-hotel": Expected(
            title="no hotel: ReserveHotel fails while the flight is reserved",
            status="FAILED",
            error="TripFailed",
            states=("Reservations", "ReservationsComplete", "UndoReservations", "TripFailed"),
            statuses=_UNDONE,
        ),
        "4-failed-payment": Expected(
            title="no card_no: TakePayment fails for good",
            status="FAILED",
            error="TripFailed",
            states=(
                "Reservations",
                "ReservationsComplete",
                "TakePayment",
                "ResolvePayment",
                "TakePaymentCommitted",
                "UndoReservations",
                "TripFailed",
            ),
            statuses={**_UNDONE, "PAYMENT": "VOIDED"},
        ),
    },
)
