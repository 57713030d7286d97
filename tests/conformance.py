"""``make conformance``: compare AWS's TestState with the interpreter that the tests run the state machines on.

For each state of each saga, and each kind of result, AWS runs the one state with a mocked result: nothing is deployed,
and no role is needed. The credentials need ``states:TestState``. It prints each difference.

Exit status: 0 no difference, 1 some, 2 an error such as missing credentials, 130 interrupted.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from ops.errors import explained

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

# TestState allows one request a second (Step Functions Developer Guide, "Quotas").
_CONFIG = Config(retries={"mode": "adaptive", "total_max_attempts": 10})


def main() -> int:
    """Compare all cases; return the exit status."""
    try:
        client: SFNClient = boto3.client("stepfunctions", config=_CONFIG)
        if boto3.Session().get_credentials() is None:
            raise NoCredentialsError
        cases = expected_cases()
        found = 0
        for number, case in enumerate(cases, start=1):
            for difference in differences(case, client):
                print(f"{case['saga']} {case['state']} {case['mock'] or ''}: {difference}", flush=True)
                found += 1
            print(f"\r{number} of {len(cases)}", end="", file=sys.stderr, flush=True)
    except (BotoCoreError, ClientError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    print(f"\n{len(cases)} cases, {found} differences")
    return 1 if found else 0


def expected_cases(*sagas: str) -> list[dict[str, Any]]:
    """Return what the interpreter makes of each case. It runs in a process of its own, without AWS's settings.

    Args:
        sagas: the names of the sagas. Default: all.
    """
    command = [sys.executable, "-m", "tests.saga.state_cases", *sagas]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    cases: list[dict[str, Any]] = json.loads(done.stdout)
    return cases


def differences(case: Mapping[str, Any], client: "SFNClient") -> Iterator[str]:
    """Compare one case: the status, the next state, the output and the error."""
    options: dict[str, Any] = {"mock": {**case["mock"], "fieldValidationMode": "NONE"}} if case["mock"] else {}
    if case["retries"]:
        options["stateConfiguration"] = {"retrierRetryCount": case["retries"]}
    answer: Mapping[str, Any] = client.test_state(
        definition=_with_arns(case["definition"]),
        stateName=case["state"],
        input=json.dumps(case["input"]),
        context=json.dumps({"Execution": {"Id": "arn:aws:states:us-east-1:123456789012:execution:m:e", "Input": {}}}),
        inspectionLevel="DEBUG",
        **options,
    )
    output = answer.get("output")
    actual = {
        "status": answer["status"],
        "next": answer.get("nextState"),
        "output": json.loads(output) if output and answer["status"] in ("SUCCEEDED", "CAUGHT_ERROR") else None,
        "error": answer.get("error") if answer["status"] in ("FAILED", "RETRIABLE") else None,
    }
    for name, value in actual.items():
        if value != case[name]:
            yield f"{name} is {value}, expected {case[name]}"


def _with_arns(definition: Mapping[str, Any]) -> str:
    """Return the definition with an ARN or a name in place of each reference."""
    text = json.dumps(definition)
    return text.replace("<", "x-").replace(">", "")


if __name__ == "__main__":
    sys.exit(main())
