"""The table that a function writes to, by its environment. Its client is made while the function is loaded."""

import os

import boto3
from botocore.config import Config

from lambdas.saga_runtime.barrier import Table

# A call ends within 7 s, well inside the function's timeout. The state machine makes the long retries.
CLIENT_CONFIG = Config(connect_timeout=1, read_timeout=2, retries={"mode": "standard", "total_max_attempts": 2})

OWN_TABLE = Table(name=os.environ["TABLE_NAME"], client=boto3.client("dynamodb", config=CLIENT_CONFIG))
