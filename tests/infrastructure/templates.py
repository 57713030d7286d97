"""Looking into a synthesized template."""

from typing import Any

Template = dict[str, Any]

FUNCTIONS = ("create_order", "process_payment", "process_shipment", "delete_order", "refund_payment", "cancel_shipment")
REPORTER = "report_stuck_saga"


def resources(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    """The whole resources of one type, by logical id."""
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == type_}


def of_type(template: Template, type_: str) -> dict[str, dict[str, Any]]:
    """The properties of the resources of one type, by logical id."""
    return {name: resource["Properties"] for name, resource in resources(template, type_).items()}


def only(template: Template, type_: str) -> dict[str, Any]:
    """The properties of the one resource of this type."""
    (properties,) = of_type(template, type_).values()
    return properties


def functions(template: Template) -> dict[str, dict[str, Any]]:
    """The functions' properties by their names without the stack's."""
    return {
        function["FunctionName"].split("-")[-1]: function
        for function in of_type(template, "AWS::Lambda::Function").values()
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def plain(value: Any) -> str:
    """A resource or a condition's value as text: a reference stands as ``<LogicalId>``."""
    match value:
        case str():
            return value
        case {"Ref": str(name)}:
            return f"<{name}>"
        case {"Fn::GetAtt": [str(name), *_]}:
            return f"<{name}>"
        case {"Fn::Join": ["", parts]}:
            return "".join(plain(part) for part in parts)
    raise AssertionError(f"a value of an unknown kind: {value}")
