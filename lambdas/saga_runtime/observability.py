"""Structured logs and business metrics.

A log line has the key of the input, the id of the saga and the step, never the input itself. A metric is a log line in
CloudWatch's embedded metric format, so counting takes no request.
"""

import os

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit

NAMESPACE = os.environ["POWERTOOLS_METRICS_NAMESPACE"]

logger = Logger(service=NAMESPACE)


def count(name: str, **dimensions: str) -> None:
    """Count one event under its dimensions, for instance ``count("SagaConflict", step="BookRoom")``."""
    # Not Powertools' `Metrics`: it adds the dimension `service`, and the alarms would not find the metric.
    with single_metric(namespace=NAMESPACE, name=name, unit=MetricUnit.Count, value=1) as metric:
        for dimension, value in dimensions.items():
            metric.add_dimension(name=dimension, value=value)
