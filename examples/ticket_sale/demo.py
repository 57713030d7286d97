"""The sales of the demo."""

from examples.ticket_sale.fake_provider import serving
from examples.ticket_sale.lambdas.sale_steps import STEPS
from examples.ticket_sale.saga import SAGA
from local.demo import Scenario
from local.sagas import demo_of

DEMO = demo_of(
    SAGA,
    specs=STEPS,
    serving=serving,
    amount="price",
    scenarios={
        "1-success": Scenario(title="a complete sale"),
        "2-slow-provider": Scenario(title="the provider charges and responds too late once"),
        "3-silent-provider": Scenario(title="the provider charges and never responds", fails="charge_card"),
        "4-failed-ticket": Scenario(title="no buyer", fails="issue_ticket"),
    },
)
