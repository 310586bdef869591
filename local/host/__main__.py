"""`python -m local.host`: serves one function app on 127.0.0.1 until SIGTERM, SIGINT or the end of its parent.

In: command line. Out: exit status 0 after a clean stop, 1 for an app that cannot be run, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from local.host.app import Host, HostPaths
from local.host.clock import Clock
from local.host.http_protocol import protocol
from local.host.settings import SettingsError, apply_settings_file
from local.loops import quickest

log = logging.getLogger("local.host")
ADDRESS = "127.0.0.1"
PARENT_POLL_S = 0.5
# How long a thread that computes keeps others from running. Ten functions at Python's 5 ms would let a loop that has
# received something wait 50 ms for its turn, at every hop; a switch costs microseconds.
SWITCH_S = 0.002


class Server(uvicorn.Server):
    """Leaves signals to the host, which drains before HTTP ends."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.host", description="Runs a function app on this machine.")
    parser.add_argument("--app", type=Path, required=True, help="folder with function_app.py and host.json")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--durable-db", type=Path, help="SQLite file of the Durable hub")
    parser.add_argument("--timer-db", type=Path, help="SQLite file of timers, shared by hosts; beside the hub")
    parser.add_argument("--settings", type=Path, help="JSON of settings, like local.settings.json")
    parser.add_argument("--parent-pid", type=int, help="stop when this process is gone")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def parent_gone(pid: int) -> bool:
    """Whether the process does not exist any more, or has left us to another parent."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


async def _watch_parent(pid: int, stop: asyncio.Event) -> None:
    was_ours = os.getppid() == pid
    while not stop.is_set():
        if parent_gone(pid) or (was_ours and os.getppid() != pid):
            log.warning("parent process %d is gone", pid)
            stop.set()
            return
        await asyncio.sleep(PARENT_POLL_S)


def _bound(port: int) -> socket.socket:
    # The protocol is named because asyncio turns Nagle's delay off only on sockets that say they are TCP.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((ADDRESS, port))
    except OSError as exc:
        raise SettingsError(f"port {port} on {ADDRESS} cannot be had: {exc.strerror}") from exc
    bound.listen(256)
    return bound


async def serve(host: Host, bound: socket.socket, parent_pid: int | None) -> bool:
    """Runs the host until it is told to stop.

    Returns:
        True when nothing was left running.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    config = uvicorn.Config(
        host.asgi,
        interface="asgi3",
        http=protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # there is no proxy in front of it, and each request would be looked at
        timeout_graceful_shutdown=2,
    )
    server = Server(config)
    host.start()  # first: a request must not find the hub half taken up; the socket listens, so none is lost
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    address = bound.getsockname()
    print(f"host ready on http://{ADDRESS}:{address[1]} ({len(host.specs)} functions)", flush=True)
    watching = asyncio.create_task(_watch_parent(parent_pid, stop)) if parent_pid else None
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([stopped, serving], return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    clean = await host.drain()
    server.should_exit = True
    await serving
    await host.close()
    if watching is not None:
        watching.cancel()
    return clean


def main(argv: list[str] | None = None, clock: Clock | None = None) -> int:
    """Command line entry; see the module.

    Args:
        clock: for tests that set the clock; the machine's otherwise.
    """
    arguments = _arguments(argv)
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("azure.servicebus", "azure.core", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A lost connection is one line of ours; the SDK would add a traceback for each of its receivers.
    for lost in ("azure.servicebus._pyamqp", "azure.servicebus.aio._async_utils"):
        logging.getLogger(lost).setLevel(logging.ERROR)
    try:
        if arguments.settings is not None:
            apply_settings_file(arguments.settings)
        bound = _bound(arguments.port)
        paths = HostPaths(arguments.app.resolve(), arguments.durable_db, arguments.timer_db)
        host = Host(paths, f"http://{ADDRESS}:{bound.getsockname()[1]}", clock=clock)
    except SettingsError as exc:
        print(f"host cannot start: {exc}", file=sys.stderr)
        return 1
    with asyncio.Runner(loop_factory=quickest()) as runner:
        clean = runner.run(serve(host, bound, arguments.parent_pid))
    if not clean:
        log.warning("stopped with functions still running")
        logging.shutdown()
        os._exit(0)  # a thread past its time limit would keep the interpreter alive
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
