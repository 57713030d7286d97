"""The cdk-nag findings that this project accepts, each with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, *, finding: str, reason: str) -> None:
    """Accept a finding of cdk-nag's AwsSolutions rules.

    Args:
        construct: where the finding is accepted, its children included.
        finding: the rule, with its detail in brackets if the rule has one.
        reason: why the finding is accepted.
    """
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason))
