"""Findings of the rules that every synthesis is checked by, and why we live with some."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, *, finding: str, reason: str) -> None:
    """Accept a finding of cdk-nag's AwsSolutions rules on this construct and what is under it, for the reason."""
    Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason))
