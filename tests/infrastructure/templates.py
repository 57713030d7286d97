"""Helpers that read a synthesized template."""

from typing import Any

from lambdas.saga_runtime.own_table import CLIENT_CONFIG
from saga_stack.order_saga import STEPS

Template = dict[str, Any]

# The actions, then their compensations.
FUNCTIONS = (*(step.action for step in STEPS), *(step.compensation for step in STEPS))
REPORTER = "report_stuck_saga"
REDRIVER = "redrive_stuck_sagas"  # in stages with automatic redrives
REPORTER_HANDLER = f"lambdas.saga_runtime.{REPORTER}.handler"


def resources(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    """Return the resources of one type by logical id."""
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == type_}


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    """Return the properties of the resources of one type by logical id."""
    return {name: resource["Properties"] for name, resource in resources(template, type_).items()}


def only(template: Template, type_: str) -> dict[str, Any]:
    """Return the properties of the only resource of this type."""
    (properties,) = of_type(template, type_).values()
    return properties


def functions(template: Template) -> dict[str, dict[str, Any]]:
    """Return the properties of the functions by name, without the name of the stack."""
    return {
        function["FunctionName"].split("-")[-1]: function
        for function in of_type(template, "AWS::Lambda::Function").values()
    }


def saga_table(template: Template) -> tuple[str, dict[str, Any]]:
    """Return the logical id and the properties of the table of the saga: its sort key is ``entity``."""
    (found,) = (item for item in of_type(template, "AWS::DynamoDB::Table").items() if len(item[1]["KeySchema"]) > 1)
    return found


def stuck_table(template: Template) -> tuple[str, dict[str, Any]]:
    """Return the logical id and the properties of the table of stuck sagas."""
    (found,) = (item for item in of_type(template, "AWS::DynamoDB::Table").items() if len(item[1]["KeySchema"]) == 1)
    return found


def longest_request() -> int:
    """Return how long a request of a function to AWS may take, in seconds."""
    config: Any = CLIENT_CONFIG  # its options are attributes that its stubs do not know
    attempts = config.retries["total_max_attempts"]
    # botocore's standard mode waits at most 1 s before the second attempt, 2 s before the third, and so on.
    waits = sum(2**n for n in range(attempts - 1))
    longest: int = attempts * (config.connect_timeout + config.read_timeout) + waits
    return longest


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(value: Any) -> str:
    """Return the value of a resource or a condition as text. A reference reads ``<LogicalId>``."""
    match value:
        case str():
            return value
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), *_]}:
            return f"<{name}>"
        case {"Fn::Join": ["", parts]}:
            return "".join(plain(part) for part in parts)
    raise AssertionError(f"unknown value: {value}")
