"""Structured logs and business metrics, the same for every function.

A log line carries the order's id, the saga's id and the step; never the order itself, which holds the card.
Metrics are printed in CloudWatch's embedded metric format, so that counting costs no call.
"""

import os

from lambdas.shared import startup  # noqa: F401 (stands in for what Powertools imports)

# isort: split
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

# The stack's name where it is deployed, so that stages of one account are counted apart.
NAMESPACE = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "OrderSaga")

logger = Logger(service=NAMESPACE)
# Not Powertools' `Metrics`, which gives each metric the dimension `service`: no alarm would find it.
_metrics = AmazonCloudWatchEMFProvider(namespace=NAMESPACE)


def count(name: str, **dimensions: str) -> None:
    """Count one business event under its dimensions, for instance ``count("OrderConflict", step="CreateOrder")``."""
    _metrics.add_metric(name=name, unit=MetricUnit.Count, value=1)
    for dimension, value in dimensions.items():
        _metrics.add_dimension(name=dimension, value=value)
    _metrics.flush_metrics()
