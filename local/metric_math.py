"""Adds to MiniStack what it lacks: alarms on metric math in CloudFormation.

The alarm takes the first metric of the expression itself. For ``FILL(metric, 0)`` this differs only without data; the
metrics of a log have none here. Delete this module when MiniStack has it.
"""

from collections.abc import Mapping
from typing import Any

from ministack.services.cloudformation import provisioners


def install() -> None:
    """Have MiniStack's alarms accept expressions. Call it before MiniStack serves."""
    make_record = provisioners._cw_metric_alarm_record  # noqa: SLF001 (MiniStack has no interface for it)

    def make_plain_record(name: str, properties: Mapping[str, Any]) -> Any:
        return make_record(name, without_expression(properties))

    provisioners._cw_metric_alarm_record = make_plain_record  # noqa: SLF001 (likewise)


def without_expression(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of an alarm with its first metric in place of an expression."""
    match properties.get("Metrics"):
        case [{"Expression": str()}, {"MetricStat": dict(stat)}, *_]:
            plain = {name: value for name, value in properties.items() if name != "Metrics"}
            return {**plain, **stat["Metric"], "Statistic": stat["Stat"], "Period": stat["Period"]}
    return dict(properties)
