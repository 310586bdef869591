"""Run the shop: `python -m local.demo.shop --port N --data DIR [--parent-pid N]`.

In: arguments and `ARGUS_SHOP_DEPLOY_SECRET`. Out: a server on 127.0.0.1 until SIGTERM or the parent's end.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from local.demo.shop.server import Shop, create_app
from local.sandbox.serving import serve

SECRET_VARIABLE = "ARGUS_SHOP_DEPLOY_SECRET"  # noqa: S105 - the name of a variable, not its value


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and serve; 2 when the secret is missing."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.shop", description="The demo's shop.")
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder of shop.log and deploys.jsonl")
    parser.add_argument("--seed", type=int, default=7, help="seed of the payment latency")
    parser.add_argument("--parent-pid", type=int, help="end when this process has ended")
    options = parser.parse_args(arguments)
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        sys.stderr.write(f"shop: set {SECRET_VARIABLE}: nobody may deploy without a secret\n")
        return 2
    shop = Shop(options.data, secret, options.seed)
    try:
        return serve(create_app(shop), options.port, "shop", options.parent_pid)
    finally:
        shop.close()


if __name__ == "__main__":
    sys.exit(main())
