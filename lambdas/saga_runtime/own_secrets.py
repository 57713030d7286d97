"""The secrets of a function, such as the API key of a provider. They are never logged."""

import functools
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from lambdas.saga_runtime import clock
from lambdas.saga_runtime.own_table import CLIENT_CONFIG


class OwnSecret:
    """A secret in AWS Secrets Manager that the function may read.

    Args:
        variable: the environment variable that has its ARN.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable
        self._value: str | None = None
        self._read_at = datetime.min.replace(tzinfo=UTC)

    def value(self, *, max_age: timedelta = timedelta.max) -> str:
        """Return the value, which is read once, or again if that was more than ``max_age`` ago.

        Raises botocore's errors.
        """
        if self._value is None or clock.present() - self._read_at > max_age:
            return self.renewed()
        return self._value

    def renewed(self) -> str:
        """Read the value again, because it may have been rotated, and return it. Raises botocore's errors."""
        value: str = _client().get_secret_value(SecretId=os.environ[self._variable])["SecretString"]
        self._value, self._read_at = value, clock.present()
        return value


@functools.cache
def _client() -> Any:
    """Return the client. Most functions need none, and its creation takes time."""
    return boto3.client("secretsmanager", config=CLIENT_CONFIG)
