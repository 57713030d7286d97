"""Adds to MiniStack what it lacks: alarms on the metric math ``FILL(metric, 0)`` in CloudFormation.

The alarm takes the metric itself, which differs only without data. Delete this module when MiniStack has it.
"""

from collections.abc import Mapping
from typing import Any

from ministack.services.cloudformation import provisioners


def install() -> None:
    """Have MiniStack's alarms accept FILL. Call it before MiniStack serves."""
    make_record = provisioners._cw_metric_alarm_record  # noqa: SLF001 (MiniStack has no interface for it)

    def make_plain_record(name: str, properties: Mapping[str, Any]) -> Any:
        return make_record(name, without_fill(properties))

    provisioners._cw_metric_alarm_record = make_plain_record  # noqa: SLF001 (likewise)


def without_fill(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of an alarm with the metric itself in place of ``FILL(metric, 0)``."""
    match properties.get("Metrics"):
        case [{"Expression": "FILL(metric, 0)"}, {"MetricStat": dict(stat)}]:
            plain = {name: value for name, value in properties.items() if name != "Metrics"}
            return {**plain, **stat["Metric"], "Statistic": stat["Stat"], "Period": stat["Period"]}
    return dict(properties)
