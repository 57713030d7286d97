"""The secrets of a function, such as the API key of a provider. They are never logged."""

import functools
import os
from typing import Any

import boto3

from lambdas.saga_runtime.own_table import CLIENT_CONFIG


class OwnSecret:
    """A secret in AWS Secrets Manager that the function may read.

    Args:
        variable: the environment variable that has its ARN.
    """

    def __init__(self, variable: str) -> None:
        self._variable = variable
        self._value: str | None = None

    def value(self) -> str:
        """Return the value, which is read once. Raises botocore's errors."""
        return self._value or self.renewed()

    def renewed(self) -> str:
        """Read the value again, because it may have been rotated, and return it. Raises botocore's errors."""
        value: str = _client().get_secret_value(SecretId=os.environ[self._variable])["SecretString"]
        self._value = value
        return value


@functools.cache
def _client() -> Any:
    """Return the client. Most functions need none, and its creation takes time."""
    return boto3.client("secretsmanager", config=CLIENT_CONFIG)
