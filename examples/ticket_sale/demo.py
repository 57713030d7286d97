"""The sales of the demo."""

from pathlib import Path

from examples.ticket_sale.fake_provider import serving
from examples.ticket_sale.lambdas.sale_steps import STEPS
from local.demo import Demo, Scenario

DEMO = Demo(
    stack="TicketSaga",
    module="examples.ticket_sale.app",
    specs=STEPS,
    failed="SaleFailed",
    folder=Path(__file__).parent / "scenarios",
    serving=serving,
    amount="price",
    scenarios={
        "1-success": Scenario(title="a complete sale"),
        "2-slow-provider": Scenario(title="the provider charges and responds too late once"),
        "3-silent-provider": Scenario(title="the provider charges and never responds", fails="charge_card"),
        "4-failed-ticket": Scenario(title="no buyer", fails="issue_ticket"),
    },
)
