"""A client of the HTTP API and the function URLs of a stack on the local cloud."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local.cloud import KEY, LOOPBACK, REGION
from local.deployment import Deployment

TIMEOUT_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The response to a request: its status, its headers by name in lower case, and its JSON; None without a body."""

    status: int
    headers: Mapping[str, str]
    body: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """Sends requests to an API or to a function URL.

    Args:
        url: the URL that paths are appended to.
        credentials: what signs the requests as on AWS; None sends them unsigned. Default: those of the local cloud.
        region: the region of the API. Default: that of the local cloud.
    """

    url: str
    credentials: Credentials | None = field(default_factory=lambda: Credentials(KEY, KEY))
    region: str = REGION

    def post(self, path: str, value: object) -> Answer:
        """Send a value as JSON."""
        return self.send("POST", path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Read a path."""
        return self.send("GET", path, None, headers or {})

    def send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """Send a request."""
        request = AWSRequest(method=method, url=self.url + path, data=body, headers=dict(headers))
        if self.credentials is not None:
            SigV4Auth(self.credentials, "execute-api", self.region).add_auth(request)
        prepared = urllib.request.Request(  # noqa: S310 (the URL is the local cloud's)
            self.url + path, data=body, headers=dict(request.headers.items()), method=method
        )
        try:
            with LOOPBACK.open(prepared, timeout=TIMEOUT_SECONDS) as response:
                return _answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The API of a stack, and the queue of the example that receives its events."""

    api: ApiClient
    queue_url: str


def edges_of(deployment: Deployment) -> Edges:
    """Return the edges of a stack on the local cloud that was deployed with ``api=true``."""
    outputs = deployment.outputs()
    url = local_url(deployment.cloud.endpoint, outputs["ApiUrl"])
    return Edges(api=ApiClient(url=url), queue_url=outputs["OutcomeQueueUrl"])


def local_url(endpoint: str, url: str) -> str:
    """Return where the local cloud serves an API or a function URL: the host in ``url`` is AWS's, or does not resolve.

    The host is ``<id>.execute-api.<region>...`` or ``<id>.lambda-url.<region>...``.
    """
    id_, service, *_ = (urlsplit(url).hostname or "").split(".")
    return f"{endpoint}/_aws/{service}/{id_}/{'$default' if service == 'execute-api' else ''}"


def commands_of(edges: Edges, *, path: str, file: str, key: str) -> str:
    """Return what to type in another terminal.

    Args:
        edges: the edges of the stack.
        path: where the inputs are.
        file: a file with an input.
        key: its key.
    """
    curl = f"curl --silent --include --write-out '\\n' --aws-sigv4 aws:amz:{REGION}:execute-api --user {KEY}:{KEY}"
    return f"""The HTTP API:
  {curl} \\
    --header 'Content-Type: application/json' --data @{file} '{edges.api.url}{path}'
  {curl} '{edges.api.url}{path}/{key}?wait=10'
  {curl} --data '' '{edges.api.url}{path}/{key}/cancel'

The events, in the queue of the example:
  aws sqs receive-message --endpoint-url $AWS_ENDPOINT_URL --queue-url {edges.queue_url} \\
    --max-number-of-messages 10 --wait-time-seconds 10 --query 'Messages[].Body'"""


def _answer(status: int, headers: Message, body: bytes) -> Answer:
    return Answer(
        status=status,
        headers={name.lower(): value for name, value in headers.items()},
        body=json.loads(body) if body else None,
    )
