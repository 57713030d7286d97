"""The CDK app of the trip saga. Its context is ``-c stage=NAME`` and ``-c alert_email=ADDRESS``."""

from saga_stack.construct.app import synthesize_saga

if __name__ == "__main__":
    synthesize_saga(__file__)
