"""The sales of the demo."""

from examples.ticket_sale.fake_stripe import serving
from examples.ticket_sale.lambdas import sale_steps
from examples.ticket_sale.saga import SAGA
from local.demo import Scenario
from local.sagas import demo_of

DEMO = demo_of(
    SAGA,
    specs_module=sale_steps,
    serving=serving,
    amount="price",
    scenarios={
        "1-success": Scenario(title="a complete sale"),
        "2-slow-provider": Scenario(title="the provider authorizes and responds too late once"),
        "3-silent-provider": Scenario(title="the provider authorizes and never responds", fails="authorize_card"),
        "4-declined": Scenario(title="the card is declined", fails="authorize_card"),
        "5-failed-ticket": Scenario(title="no buyer", fails="issue_ticket"),
    },
)
