"""The CDK app of the ticket saga. Its context is ``stage``, ``alert_email`` and ``provider_url``."""

from saga_stack.construct.app import synthesize_saga

if __name__ == "__main__":
    synthesize_saga(__file__)
