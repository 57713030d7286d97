"""The functions of its steps."""

from lambdas.saga_runtime.handlers import action, compensation, confirmation
from tests.room_booking.lambdas.room_steps import STEPS

ROOM, DEPOSIT = STEPS["ROOM"], STEPS["DEPOSIT"]

reserve_room, free_room, sell_room = action(ROOM), compensation(ROOM), confirmation(ROOM)
take_deposit, return_deposit = action(DEPOSIT), compensation(DEPOSIT)
