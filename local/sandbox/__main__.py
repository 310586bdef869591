"""Run the stand-ins: `python -m local.sandbox --port N --db PATH [--parent-pid N]`.

In: arguments and four secrets in the environment. Out: a server on 127.0.0.1 until SIGTERM or the parent's end.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from local.sandbox.app import create_app
from local.sandbox.credentials import Credentials
from local.sandbox.exchange import Sandbox
from local.sandbox.serving import serve
from local.sandbox.store import Store


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and serve; 2 when a secret is missing."""
    parser = argparse.ArgumentParser(prog="python -m local.sandbox", description="Stand-ins for SaaS systems.")
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--db", type=Path, required=True, help="SQLite file that keeps everything")
    parser.add_argument("--parent-pid", type=int, help="end when this process has ended")
    options = parser.parse_args(arguments)
    try:
        credentials = Credentials.from_environment(os.environ)
    except LookupError as exc:
        sys.stderr.write(f"sandbox: {exc.args[0]}\n")
        return 2
    store = Store(options.db)
    try:
        return serve(create_app(Sandbox(store, credentials)), options.port, "sandbox", options.parent_pid)
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main())
