"""The web console of a deployed stack, served in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local.cloud import HOST, REGION
from local.deployment import Deployment
from ops.connection import Settings, connect
from ops.console.form import PRESETS, read_presets
from ops.console.server import Address, create_app, listening, names_of, server_of


@contextmanager
def console_of(deployment: Deployment) -> Iterator[str]:
    """Serve a console on a free port while the block runs; yields its URL."""
    sagas = connect(Settings(stack=deployment.stack, region=REGION, endpoint_url=deployment.cloud.endpoint))
    with listening(Address(host=HOST, port=0)) as listener:
        port = listener.getsockname()[1]
        app = create_app(sagas, hosts=names_of(HOST, port), presets=read_presets(PRESETS))
        server = server_of(app, listener)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
