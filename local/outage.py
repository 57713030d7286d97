"""Breaks a function on purpose: its role may not write to any table, as after a mistake in a policy."""

import json
from typing import TYPE_CHECKING

from lambdas.saga_runtime.names import state_name
from local.cloud import LOOPBACK

if TYPE_CHECKING:
    from boto3.session import Session

POLICY = "NoWrites"
DENY_WRITES = json.dumps(
    {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "dynamodb:UpdateItem", "Resource": "*"}}
)


class Outage:
    """An outage of one function on a local cloud.

    Args:
        session: a session with the cloud's credentials.
        endpoint: the cloud's URL.
        stack: the name of the function's stack.
        function: the function's name without the stack.
        skip_waits: retry at once during the outage, because a saga retries for half an hour. Default: false.
    """

    def __init__(
        self, session: "Session", endpoint: str, *, stack: str, function: str, skip_waits: bool = False
    ) -> None:
        self.state = state_name(function)
        self._endpoint = endpoint
        self._skip_waits = skip_waits
        self._iam = session.client("iam", endpoint_url=endpoint)
        functions = session.client("lambda", endpoint_url=endpoint)
        role = functions.get_function_configuration(FunctionName=f"{stack}-{function}")["Role"]
        self._role = role.rpartition("/")[2]

    @property
    def is_on(self) -> bool:
        """Whether the function is broken."""
        return POLICY in self._iam.list_role_policies(RoleName=self._role)["PolicyNames"]

    def begin(self) -> None:
        """Break the function."""
        self._iam.put_role_policy(RoleName=self._role, PolicyName=POLICY, PolicyDocument=DENY_WRITES)
        if self._skip_waits:
            self._scale_waits(0)

    def end(self) -> None:
        """Fix the function."""
        self._iam.delete_role_policy(RoleName=self._role, PolicyName=POLICY)
        if self._skip_waits:
            self._scale_waits(1)

    def _scale_waits(self, scale: int) -> None:
        body = json.dumps({"stepfunctions._SFN_WAIT_SCALE": scale}).encode()
        with LOOPBACK.open(f"{self._endpoint}/_ministack/config", data=body, timeout=10):
            pass
