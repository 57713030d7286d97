"""Sensitive values in texts that are stored, logged or shown."""

import pytest

from lambdas.saga_runtime.redaction import message_in, parsed_json, redacted, values_in


@pytest.mark.parametrize(
    ("text", "values", "shown"),
    [
        ("card 123-1234 bounced", ["123-1234"], "card (hidden) bounced"),
        ("card 1231234 bounced", ["123-1234"], "card (hidden) bounced"),
        ("card 123 1234 bounced", [1231234], "card (hidden) bounced"),
        ("card 12-31-23-4 bounced", ["123-1234"], "card (hidden) bounced"),
        ("123-1234, 123-1234", ["123-1234"], "(hidden), (hidden)"),
        ("no delivery to 12 (Elm) St.", ["12 (Elm) St."], "no delivery to (hidden)"),
        ("a is one, b is two", ["one", "b is"], "a is one, (hidden) two"),
        ("the pin 123 and true", ["123", True, None, ["pin "]], "the pin 123 and true"),
        ("1234-56 and 1234", ["1234", "1234-56"], "(hidden) and (hidden)"),
        ("nothing", [], "nothing"),
    ],
)
def test_a_value_is_hidden_however_its_digits_are_separated(text: str, values: list[object], shown: str) -> None:
    assert redacted(text, values) == shown


def test_all_texts_and_numbers_of_a_json_value_are_found_at_any_depth() -> None:
    assert list(values_in({"a": [1, {"b": "two"}], "c": None})) == [1, "two", None]


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        ('{"errorMessage": "no card", "stackTrace": ["x"]}', "no card"),
        ('{"errorMessage": ""}', '{"errorMessage": ""}'),
        ('{"errorMessage": 1}', '{"errorMessage": 1}'),
        ("[1]", "[1]"),
        ("it went away", "it went away"),
        ("[" * 100_000, "[" * 100_000),
        ("", None),
        (None, None),
        ({"errorMessage": "no card"}, None),
    ],
)
def test_the_message_of_a_cause_is_shown_without_its_stack_trace(cause: object, message: str | None) -> None:
    assert message_in(cause) == message


@pytest.mark.parametrize("text", ["", None, "{", "[" * 100_000])
def test_a_text_that_is_not_json_has_no_value(text: str | None) -> None:
    assert parsed_json(text) is None
