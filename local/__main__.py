"""Run the development stack: ``python -m local up``, ``python -m local demo``, ``python -m local break``.

In: a command. Out: running processes until Ctrl-C, or one incident played through the whole loop.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from local.stack.places import ROOT, USUAL_PORTS

if TYPE_CHECKING:  # imported where they are used: it takes a second, in which Ctrl-C must not show a traceback
    from local.stack.stack import Stack

DATA = ROOT / ".argus"


def main(arguments: list[str] | None = None) -> int:
    """Parse and run.

    Returns:
        Exit code: 0 when all went well, 1 when it did not, 2 for wrong usage.
    """
    parser = argparse.ArgumentParser("python -m local", description="The development stack of ARGUS; loopback only.")
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start everything and keep it running until Ctrl-C")
    up_parser.add_argument("--data", type=Path, default=DATA, help="folder for everything that is kept")
    up_parser.add_argument("--any-port", action="store_true", help="take free ports instead of the usual ones")
    up_parser.add_argument("--apps", type=int, choices=(1, 3), default=int(os.environ.get("APPS", "1") or "1"))
    up_parser.add_argument("--store", choices=("sqlite", "tables"), default=os.environ.get("STORE") or "sqlite")
    demo_parser = commands.add_parser("demo", help="play one incident through the whole loop")
    demo_parser.add_argument("--wait", action="store_true", help="leave the approval to you")
    demo_parser.add_argument("--keep", action="store_true", help="keep the stack running afterwards")
    demo_parser.add_argument("--store", choices=("sqlite", "tables"), default=os.environ.get("STORE") or "sqlite")
    break_parser = commands.add_parser("break", help="deploy the bad release to the shop of a running stack")
    break_parser.add_argument("--data", type=Path, default=DATA)
    break_parser.add_argument("--version", default="2.4.1", help="release to deploy (2.4.0 is good, 2.4.1 is bad)")
    commands.add_parser("pages", help="write the generated pages of the documentation")
    options = parser.parse_args(arguments)
    from local.demo import play
    from local.demo.operator import deploy
    from local.stack.places import StackError
    from local.stack.stack import Stack

    try:
        match options.command:
            case "up":
                return up(Stack(options.data, usual=not options.any_port, apps=options.apps, store=options.store))
            case "demo":
                return play.demo(DATA / "demo", wait=options.wait, keep=options.keep, store=options.store)
            case "pages":
                from local import pages

                pages.write()
                return 0
            case _:
                return deploy(options.data, options.version)
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def up(stack: Stack) -> int:
    """Keep a stack running until Ctrl-C, SIGTERM, or the death of one of its processes."""
    stop = threading.Event()
    try:
        _on_stop(_interrupt)
        print("starting broker, sandbox, shop and host ...", flush=True)
        stack.up()
    except KeyboardInterrupt:
        print("\nstopped before it was up", flush=True)
        return 0
    try:
        _on_stop(lambda *_: stop.set())
        if stack.usual and stack.ports["http"] != USUAL_PORTS["http"]:
            print(f"\n  port {USUAL_PORTS['http']} is taken by something else; it is {stack.ports['http']} this time")
        print(
            f"\n  portal    {stack.url('http')}/\n"
            f"  webhooks  {stack.url('http')}/api/signals/azure_monitor   (header x-functions-key: see up.json)\n"
            f"  sandbox   {stack.url('sandbox')}/\n"
            f"  shop      {stack.url('shop')}/\n\n"
            f"  for scripts: {stack.places.up_file}; logs: {stack.places.logs}\n"
            "  break the shop:  .venv/bin/python -m local break\n"
            "  send an alert:   .venv/bin/python -m argus send azure_monitor --sample\n\n"
            "Ctrl-C stops it; everything is kept, and the next `make up` goes on where it was.",
            flush=True,
        )
        while not stop.wait(0.3):
            dead = stack.ended()
            if dead is not None and not stop.is_set():
                print(
                    f"\n{dead.name} ended unexpectedly (code {dead.process.returncode}):\n{dead.tail()}\n"
                    "Everything is kept; `make up` goes on where it was.",
                    file=sys.stderr,
                    flush=True,
                )
                return 1
        print("\nstopping ...", flush=True)
        return 0
    except KeyboardInterrupt:  # between the end of the start and the change of the handler
        return 0
    finally:
        stack.down()


def _on_stop(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
