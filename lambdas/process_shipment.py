"""ProcessShipment: books the shipment to the order's address; leaves it BOOKED."""

from lambdas.shared.handler import action
from lambdas.shared.orders import SHIPMENT

handler = action(SHIPMENT)
