"""CancelShipment: undoes ProcessShipment; leaves the shipment CANCELLED."""

from lambdas.shared.handler import compensation
from lambdas.shared.orders import SHIPMENT

handler = compensation(SHIPMENT)
