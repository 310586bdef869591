"""The broker as a process: ``python -m local.servicebus``.

In: ports, database, queue file, key file. Out: one line when it listens; exit 0 on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from local.loops import quickest
from local.servicebus.server import running_broker
from local.servicebus.settings import load_queues
from local.servicebus.storage import StoreInUse

KEY_VARIABLE = "ARGUS_SERVICEBUS_KEY"
_PARENT_POLL_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run until a signal, the end of the parent, or a failure of the store or of the broker itself.

    Returns:
        0 after a signal or when the parent is gone, 1 when it failed while running, 2 when it could not start.
    """
    options = _parser().parse_args(argv)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        key = _read_key(options.key_file)
        with asyncio.Runner(loop_factory=quickest()) as runner:
            return runner.run(_serve(options, key))
    except sqlite3.Error as exc:
        print(f"servicebus stopped: the store failed: {exc}", file=sys.stderr)
        return 1
    except (ValueError, OSError, StoreInUse) as exc:
        print(f"servicebus cannot start: {exc}", file=sys.stderr)
        return 2


async def _serve(options: argparse.Namespace, key: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    queues = load_queues(options.queues)
    async with running_broker(options.db, queues, key, port=options.port, stats_port=options.stats_port) as running:
        print(f"servicebus ready on 127.0.0.1:{running.port}", flush=True)
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(_until_set(stop)), running.broker.failed]
        if options.parent_pid is not None:
            waits.append(asyncio.ensure_future(_until_gone(options.parent_pid)))
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        failure = running.broker.failed.exception() if running.broker.failed in done else None
    if failure is None:
        return 0
    what = (
        "the store failed" if isinstance(failure, sqlite3.Error) else f"a fault of the broker, {type(failure).__name__}"
    )
    print(f"servicebus stopped: {what}: {failure}", file=sys.stderr)
    return 1


async def _until_set(stop: asyncio.Event) -> object:
    return await stop.wait()


async def _until_gone(pid: int) -> object:
    # A supervisor killed with -9 cannot tell its children; polling is the portable way to notice.
    while _alive(pid):
        await asyncio.sleep(_PARENT_POLL_S)
    return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_key(path: Path | None) -> str:
    key = path.read_text("utf-8").strip() if path is not None else os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise ValueError(f"no key: give --key-file or set {KEY_VARIABLE}")
    return key


def _parser() -> argparse.ArgumentParser:
    # No abbreviations: "--key SECRET" must not pass for --key-file and end up in an error message.
    parser = argparse.ArgumentParser(
        prog="python -m local.servicebus", description="A Service Bus broker on loopback.", allow_abbrev=False
    )
    parser.add_argument("--port", type=int, default=0, help="AMQP port; 0 takes a free one")
    parser.add_argument(
        "--stats-port", type=int, default=0, help="port of GET /queues and /healthz; 0 takes a free one"
    )
    parser.add_argument("--db", type=Path, required=True, help="SQLite file, made when missing")
    parser.add_argument("--queues", type=Path, required=True, help="JSON list of queue definitions")
    parser.add_argument("--key-file", type=Path, help=f"file with the shared access key; else {KEY_VARIABLE}")
    parser.add_argument("--parent-pid", type=int, help="exit when this process is gone")
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    return parser


if __name__ == "__main__":
    sys.exit(main())
