"""Structured logs and business metrics, the same for every function.

A log line carries the order's id, the saga's id and the step; never the order itself, which holds the card.
Metrics are printed in CloudWatch's embedded metric format, so that counting costs no call.
"""

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = "OrderSaga"

logger = Logger(service="order-saga")


def count(name: str, *, step: str) -> None:
    """Count one business event, for instance ``StepFailed``, under its step."""
    with single_metric(name=name, unit=MetricUnit.Count, value=1, namespace=NAMESPACE) as metric:
        metric.add_dimension(name="step", value=step)
