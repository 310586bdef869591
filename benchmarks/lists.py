"""Lists, search and a person's act with years in the store: ``python -m benchmarks lists``.

In: options. Out: how long pages take over HTTP, and until an acknowledgement shows; exit code 1 when a gate was missed.
"""

from __future__ import annotations

import random
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.latency import percentile
from benchmarks.load import options
from benchmarks.load.filling import fill, moment
from benchmarks.load.sink import listening
from benchmarks.load.tables import Figure, Table
from benchmarks.load.targets import Target, argus
from benchmarks.load.usage import forget_peaks, usage
from shared.adapters.stores.sqlite import SqliteStore

OPENED, CLOSED, ALERTS = 5_000, 20_000, 100_000
QUICK = 50  # times fewer of everything
PAGES = 40
MOST_MS, MOST_S, PERSON = 300.0, 10.0, "olga"
LOOK_EVERY_S = 0.005


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    given = options.parser("lists", __doc__).parse_args(arguments)
    return options.run(given, [partial(_case, given)])


async def _case(given: Namespace) -> Table:
    less = QUICK if given.quick else 1
    amounts = (OPENED // less, CLOSED // less, ALERTS // less)
    runs = 1 if given.quick else given.runs
    opened: list[str] = []
    began = time.monotonic()

    def prepare(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(path)
        opened.extend(fill(store, *amounts, given.seed, moment()))
        store.close()
        options.say(f"filled in {time.monotonic() - began:.0f} s")

    took: dict[str, list[list[float]]] = {}
    peaks: list[float] = []
    async with listening() as sink:
        with argus(sink.url, prepare=prepare) as target:
            visitor = Visitor(target)
            dice = random.Random(given.seed)  # noqa: S311  the same questions every time, nothing secret
            _round(visitor, dice, opened, 3, {})  # the first answers of a process load what it needs
            forget_peaks(target.pids)
            for run in range(runs):
                one: dict[str, list[float]] = {}
                _round(visitor, dice, opened, PAGES // (4 if given.quick else 1), one)
                for name, values in one.items():
                    took.setdefault(name, []).append(values)
                peaks.append(usage(target.pids).peak_mb)
                options.say(f"run {run + 1} of {runs}")
            visitor.close()
    table = Table(
        f"Lists: {amounts[0]:,} incidents open, {amounts[1]:,} closed, {amounts[2]:,} alerts, over HTTP", runs
    )
    for name, lists in took.items():
        table.figures.append(Figure(f"{name}, p50", "ms", [percentile(values, 50) for values in lists]))
        table.figures.append(Figure(f"{name}, p95", "ms", [percentile(values, 95) for values in lists], most=MOST_MS))
    table.figures.append(Figure("memory, peak", "MB", peaks))
    table.notes.append("The store is filled once, through the records layer; a run asks for every page again.")
    return table


def _round(
    visitor: Visitor, dice: random.Random, opened: Sequence[str], times: int, took: dict[str, list[float]]
) -> None:
    """Every page and act so many times, in turn."""
    further: dict[str, str] = {}
    for _ in range(times):
        service = f"svc-{dice.randrange(200):03d}"
        for name, path, query in (
            ("list page, first", "/", {}),
            ("list page, closed", "/", {"state": "closed"}),
            ("list page, one service", "/", {"service": service}),
            ("list page, alerts", "/alerts", {}),
            ("search page, words", "/search", {"q": f"{service} {dice.choice(('error', 'disk', 'probe'))}"}),
            ("search page, nothing", "/search", {"q": "xylophone"}),
            ("search page, ticket", "/search", {"q": f"INC{dice.randrange(20_000):07d}"}),
        ):
            took.setdefault(name, []).append(visitor.page(path, query))
        cursor = further.get("next", "")
        query = {"limit": "50", "state": "all", **({"cursor": cursor} if cursor else {})}
        took.setdefault("list, next page as JSON", []).append(visitor.page("/api/incidents", query, further))
        took.setdefault("status change, visible", []).append(visitor.acknowledge(dice.choice(opened)))


class Visitor:
    """A signed-in person with one kept connection."""

    def __init__(self, target: Target) -> None:
        base = target.urls["azure"].partition("/api/")[0]
        self._http = httpx2.Client(base_url=base, timeout=MOST_S, trust_env=False)
        self._http.post("/signin", data={"user": PERSON, "next": "/"})
        self._token = str(self._json("/api/session")["csrf"])
        self._seen: set[str] = set()

    def close(self) -> None:
        """End the connection."""
        self._http.close()

    def page(self, path: str, query: Mapping[str, str], answered: dict[str, Any] | None = None) -> float:
        """Milliseconds until a page has arrived whole.

        Args:
            answered: takes the JSON of the answer.
        """
        began = time.perf_counter()
        answer = self._http.get(path, params=dict(query))
        took = 1e3 * (time.perf_counter() - began)
        answer.raise_for_status()
        if answered is not None:
            answered.clear()
            answered.update(answer.json())
        return took

    def acknowledge(self, incident: str) -> float:
        """Milliseconds from the press of the button until the incident says so."""
        if incident in self._seen:
            return self._assign(incident)
        self._seen.add(incident)
        return self._change(incident, "acknowledge", {}, lambda line: line["acknowledged_by"] == PERSON)

    def _assign(self, incident: str) -> float:
        return self._change(incident, "assign", {"assignee": PERSON}, lambda line: line["assignee"] == PERSON)

    def _change(self, incident: str, verb: str, body: dict[str, str], shown: Callable[[Any], bool]) -> float:
        began = time.perf_counter()
        path = f"/api/incidents/{incident}"
        answer = self._http.post(f"{path}/{verb}", json=body, headers={"x-csrf-token": self._token})
        answer.raise_for_status()
        while not shown(self._json(path)) and time.perf_counter() - began < MOST_S:
            time.sleep(LOOK_EVERY_S)
        return 1e3 * (time.perf_counter() - began)

    def _json(self, path: str) -> Any:
        answer = self._http.get(path)
        answer.raise_for_status()
        return answer.json()
