"""Serves the web console until its parent ends.

``python -m local.console PARENT STACK PORT STEPS PRESETS [FUNCTION [COMMANDS]]``: STEPS is a module, PRESETS a folder,
as of ``python -m ops console``. With a function, such as ``refund_payment``, the console has a switch that breaks it.
It shows the commands for the HTTP API. Either may be empty.
"""

import functools
import os
import sys
import threading
from pathlib import Path

from local.server import end_with


def main() -> int:
    """Watch the parent, whose process id is the first argument, and serve the console."""
    parent, stack, port, steps, presets, *options = sys.argv[1:]
    function, commands = (*options, "", "")[:2]
    threading.Thread(target=end_with, args=(int(parent),), daemon=True).start()
    # Slow imports: the watch starts before.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from local.cloud import HOST  # noqa: PLC0415
    from local.outage import Outage  # noqa: PLC0415
    from ops.connection import Target, connect  # noqa: PLC0415
    from ops.console.server import Address, serve  # noqa: PLC0415
    from ops.errors import OpsError, explained  # noqa: PLC0415

    try:
        client = connect(Target(stack=stack))
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        session = boto3.Session()
        outage = Outage(session, endpoint, stack=stack, function=function, skip_waits=True) if function else None
        address = Address(host=HOST, port=int(port))
        ready = functools.partial(print, flush=True)
        serve(
            client,
            address,
            steps=steps,
            presets=Path(presets),
            ready=ready,
            outage=outage,
            api_commands=commands,
        )
    except OpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"error: {explained(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
