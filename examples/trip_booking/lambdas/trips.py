"""The three rows of a trip as data: what each requires of the input and stores of it.

Flight and hotel are reserved at once, so neither can count on the other to have looked at the fields.
"""

from lambdas.shared.fields import Fields, amount, card_last4, line
from lambdas.shared.rows import Entity, Row
from lambdas.shared.steps import Schema, Step

MAX_NAME = 100

SCHEMA = Schema(
    name="trip",
    key="trip_id",
    fields=("trip_id", "flight", "hotel", "price", "card_no"),
    max_size=100_000,
)


def _flight_row(trip: Fields) -> Row:
    SCHEMA.require_known_fields(trip)
    return {"flight": line(trip, "flight", longest=MAX_NAME)}


def _hotel_row(trip: Fields) -> Row:
    SCHEMA.require_known_fields(trip)
    return {"hotel": line(trip, "hotel", longest=MAX_NAME)}


def _payment_row(trip: Fields) -> Row:
    return {"amount": amount(trip, "price"), "card_last4": card_last4(trip, "card_no")}


FLIGHT = Step(
    name="ReserveFlight",
    schema=SCHEMA,
    entity=Entity(name="FLIGHT", live="RESERVED", confirmed="CONFIRMED", undone="CANCELLED"),
    stored=_flight_row,
)
HOTEL = Step(
    name="ReserveHotel",
    schema=SCHEMA,
    entity=Entity(name="HOTEL", live="RESERVED", confirmed="CONFIRMED", undone="CANCELLED"),
    stored=_hotel_row,
)
# The pivot is never refunded: undone means that the charge was never made and never will be.
PAYMENT = Step(
    name="TakePayment",
    schema=SCHEMA,
    entity=Entity(name="PAYMENT", live="CHARGED", undone="VOIDED"),
    stored=_payment_row,
)
