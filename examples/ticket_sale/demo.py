"""The four sales of the demo, and how each of them ends."""

from pathlib import Path

from examples.ticket_sale.fake_provider import serving
from local.demo import Example, Expected

EXAMPLE = Example(
    noun="sale",
    stack="TicketSaga",
    module="examples.ticket_sale.app",
    key="sale_id",
    entities=("SEAT", "PAYMENT", "TICKET"),
    scenarios=Path(__file__).parent / "scenarios",
    service=serving,
    price="price",
    expected={
        "1-success": Expected(
            title="a complete sale",
            status="SUCCEEDED",
            states=("ReserveSeat", "ChargeCard", "IssueTicket", "Completed"),
            statuses={"SEAT": "RESERVED", "PAYMENT": "CHARGED", "TICKET": "ISSUED"},
        ),
        "2-slow-provider": Expected(
            title="the provider charges, and answers too late once",
            status="SUCCEEDED",
            states=("ReserveSeat", "ChargeCard", "IssueTicket", "Completed"),
            statuses={"SEAT": "RESERVED", "PAYMENT": "CHARGED", "TICKET": "ISSUED"},
        ),
        "3-silent-provider": Expected(
            title="the provider charges, and never answers",
            status="FAILED",
            error="SaleFailed",
            states=("ReserveSeat", "ChargeCard", "RefundCard", "ReleaseSeat", "SaleFailed"),
            statuses={"SEAT": "RELEASED", "PAYMENT": "REFUNDED"},
        ),
        "4-failed-ticket": Expected(
            title="no buyer: IssueTicket fails",
            status="FAILED",
            error="SaleFailed",
            states=(
                "ReserveSeat",
                "ChargeCard",
                "IssueTicket",
                "VoidTicket",
                "RefundCard",
                "ReleaseSeat",
                "SaleFailed",
            ),
            statuses={"SEAT": "RELEASED", "PAYMENT": "REFUNDED", "TICKET": "VOIDED"},
        ),
    },
)
