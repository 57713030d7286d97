"""The web console, served in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local.cloud import HOST
from local.demo import Demo
from local.deployment import Deployment
from local.order_demo import ORDER_DEMO
from ops.client import SagaClient
from ops.console.form import read_presets
from ops.console.outage import Outage
from ops.console.server import Address, allowed_hosts, create_app, listening, server_of


@contextmanager
def console_of(deployment: Deployment, outage: Outage | None = None, *, demo: Demo = ORDER_DEMO) -> Iterator[str]:
    """Serve the console of a deployed stack while the block runs, perhaps with a switch; yield its URL."""
    with console_of_client(deployment.client, outage, demo=demo) as url:
        yield url


@contextmanager
def console_of_client(
    client: SagaClient, outage: Outage | None = None, *, demo: Demo = ORDER_DEMO, port: int = 0
) -> Iterator[str]:
    """Serve the console of a client's stack on a port, by default a free one, while the block runs; yield its URL."""
    with listening(Address(host=HOST, port=port)) as listener:
        port = listener.getsockname()[1]
        app = create_app(
            client,
            hosts=allowed_hosts(HOST, port),
            steps=demo.specs_module.__name__,
            presets=read_presets(demo.folder),
            outage=outage,
        )
        server = server_of(app, listener)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
