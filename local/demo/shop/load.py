"""Customers for the shop: `python -m local.demo.shop.load --url U --rps 20 --seed 7 [--duration S]`.

In: an address and a rate. Out: real requests at that rate, whether or not the shop keeps up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field

import httpx2

from local.sandbox.serving import watch_parent

TIMEOUT_S = 5.0
MAX_IN_FLIGHT = 200  # a stalled shop must not make the generator grow without bound
REPORT_EVERY_S = 5.0
CHECKOUT_SHARE = 0.7  # most visitors come from a newsletter straight to a filled basket


@dataclass(slots=True)
class Load:
    """An open loop: requests start on their own schedule, not when the last one is answered."""

    url: str
    rps: float
    seed: int
    checkout_share: float = CHECKOUT_SHARE
    results: Counter[str] = field(default_factory=Counter)

    async def run(self, stop: asyncio.Event, duration_s: float | None = None) -> None:
        """Send requests until ``stop`` is set or the time is over; unanswered ones are given up then."""
        source = random.Random(self.seed)  # noqa: S311 - traffic, not a secret
        loop = asyncio.get_running_loop()
        end = loop.time() + duration_s if duration_s is not None else float("inf")
        due = loop.time()
        running: set[asyncio.Task[None]] = set()
        limits = httpx2.Limits(max_connections=MAX_IN_FLIGHT, max_keepalive_connections=20)
        async with httpx2.AsyncClient(base_url=self.url, timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:
            while not stop.is_set() and due < end:
                if not await _until(stop, due - loop.time()):
                    break
                due += source.uniform(0.5, 1.5) / self.rps
                if len(running) >= MAX_IN_FLIGHT:
                    self.results["skipped"] += 1
                    continue
                choice, amount = source.random(), source.randrange(390, 9900)
                task = asyncio.create_task(self._visit(client, choice, amount))
                running.add(task)
                task.add_done_callback(running.discard)
            for task in tuple(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _visit(self, client: httpx2.AsyncClient, choice: float, amount: int) -> None:
        try:
            if choice < self.checkout_share:
                reply = await client.post("/checkout", json={"amount_cents": amount})
            else:
                reply = await client.get("/products" if choice < (1 + self.checkout_share) / 2 else "/")
        except httpx2.HTTPError as exc:
            self.results[type(exc).__name__] += 1
        else:
            self.results[str(reply.status_code)] += 1


async def _until(stop: asyncio.Event, wait_s: float) -> bool:
    """Wait that long; False as soon as ``stop`` is set."""
    if wait_s > 0:
        try:
            await asyncio.wait_for(stop.wait(), wait_s)
        except TimeoutError:
            return True
    return not stop.is_set()


async def _report(load: Load, stop: asyncio.Event) -> None:
    while await _until(stop, REPORT_EVERY_S):
        sys.stdout.write(json.dumps(dict(load.results)) + "\n")
        sys.stdout.flush()


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.parent_pid is not None:

        def parent_gone() -> None:
            loop.call_soon_threadsafe(stop.set)

        watch_parent(options.parent_pid, parent_gone)
    load = Load(options.url, options.rps, options.seed, options.checkout_share)
    reporter = asyncio.create_task(_report(load, stop)) if options.verbose else None
    await load.run(stop, options.duration)
    stop.set()
    if reporter is not None:
        await reporter
        sys.stdout.write(json.dumps(dict(load.results)) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Parse the arguments and send until told to stop; always 0, a failing shop is not this program's failure."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.shop.load", description="Customers for the shop.")
    parser.add_argument("--url", required=True, help="address of the shop")
    parser.add_argument("--rps", type=float, default=20.0, help="requests per second")
    parser.add_argument("--seed", type=int, default=7, help="seed of the mix and the schedule")
    parser.add_argument("--checkout-share", type=float, default=CHECKOUT_SHARE, help="share of checkouts, 0 to 1")
    parser.add_argument("--duration", type=float, help="seconds; without it until SIGTERM")
    parser.add_argument("--parent-pid", type=int, help="end when this process has ended")
    parser.add_argument("--verbose", action="store_true", help="print counts by status every five seconds")
    options = parser.parse_args(arguments)
    if options.rps <= 0:
        parser.error("--rps must be above 0")
    asyncio.run(_main(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
