"""Serves the web console until its parent ends: ``python -m local.console PARENT STACK PORT [FUNCTION]``.

With a function, such as ``refund_payment``, the console has a switch that breaks it.
"""

import functools
import os
import sys
import threading

from local.server import end_with


def main() -> int:
    """Watch the parent, whose process id is the first argument, and serve the console."""
    parent, stack, port, *functions = sys.argv[1:]
    threading.Thread(target=end_with, args=(int(parent),), daemon=True).start()
    # Slow imports: the watch starts before.
    import boto3  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    from local.cloud import HOST  # noqa: PLC0415
    from local.outage import Outage  # noqa: PLC0415
    from ops.connection import Target, connect  # noqa: PLC0415
    from ops.console.form import PRESETS  # noqa: PLC0415
    from ops.console.server import Address, serve  # noqa: PLC0415
    from ops.errors import OpsError, explained  # noqa: PLC0415

    try:
        client = connect(Target(stack=stack))
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        outages = [Outage(boto3.Session(), endpoint, stack=stack, function=name, skip_waits=True) for name in functions]
        address = Address(host=HOST, port=int(port))
        ready = functools.partial(print, flush=True)
        serve(client, address, presets=PRESETS, ready=ready, outage=next(iter(outages), None))
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
