"""The tables of `python -m benchmarks cost`, and the same figures for scripts.

In: what was played, prices. Out: text, JSON, and which gates were missed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cost import bill
from benchmarks.cost.background import Timer
from benchmarks.cost.ledger import DURABLE, HTTP, Execution
from benchmarks.cost.prices import Prices
from benchmarks.grid import grid

MOST_CALLS, STRETCH_CALLS, MOST_MESSAGES = 80, 60, 20
MOST_SPARSE, MOST_BUSY = 0.35, 0.10
KINDS = ("get", "query", "write", "transact")


@dataclass(frozen=True, slots=True)
class Gate:
    """A promise, and what became of it."""

    name: str
    value: float
    most: float
    stretch: float | None = None

    @property
    def held(self) -> bool:
        """Whether it was kept."""
        return round(self.value, 4) <= self.most


@dataclass(frozen=True, slots=True)
class Costs:
    """Everything that is reported.

    Attributes:
        loop: executions of the incident.
        polls: executions of one more poll of the wait for people.
        crowd: executions of `crowd_of` incidents at once.
        timers: what goes on without any incident.
    """

    loop: Sequence[Execution]
    polls: Sequence[Execution]
    crowd: Sequence[Execution]
    crowd_of: int
    timers: Sequence[Timer]
    prices: Prices

    @property
    def calls(self) -> int:
        """Store calls of the incident."""
        return sum(one.store_calls for one in self.loop)

    @property
    def messages(self) -> int:
        """Messages of the incident."""
        return sum(len(one.sent) for one in self.loop)

    @property
    def sparse(self) -> bill.Bill:
        """Every incident alone."""
        return bill.sparse(self.loop, self.prices)

    @property
    def busy(self) -> bill.Bill:
        """Many at once."""
        return bill.busy(self.crowd, self.prices, self.crowd_of)

    def gates(self) -> list[Gate]:
        """What must hold."""
        return [
            Gate("store calls", self.calls, MOST_CALLS, STRETCH_CALLS),
            Gate("messages", self.messages, MOST_MESSAGES),
            Gate("$ per 1,000 incidents, sparse", self.sparse.total, MOST_SPARSE),
            Gate("$ per 1,000 incidents, busy", self.busy.total, MOST_BUSY),
        ]

    def counts(self) -> dict[str, int]:
        """What CI compares: deterministic counts only, by a name that says where."""
        found = Counter[str]()
        for one in self.loop:
            found[f"calls: {name_of(one)}"] += one.store_calls
            found[f"rows: {name_of(one)}"] += one.rows
            for queue, _ in one.sent:
                found[f"messages: {queue}"] += 1
        found["calls"], found["messages"], found["executions"] = self.calls, self.messages, len(self.loop)
        found["rows"] = sum(one.rows for one in self.loop)
        return {name: count for name, count in sorted(found.items()) if count}


def name_of(one: Execution) -> str:
    """Function and message."""
    return one.label if one.scaling in (HTTP, DURABLE) else f"{one.scaling}: {one.label}"


def text(costs: Costs) -> str:
    """For people."""
    return "\n\n".join(
        [
            "One incident through the whole loop: one alert, one approval, closed by its resolve",
            _hops(costs.loop),
            _tables(costs.loop),
            _queues(costs.loop),
            "$ per 1,000 incidents without a model, without free grants,"
            f" instances of {costs.prices.instance_gb * 1024:.0f} MB",
            _dollars(costs),
            "Prices\n" + "\n".join(f"  {name}: {source}" for name, source in costs.prices.sources.items()),
            _waiting(costs),
            _background(costs),
            _gates(costs),
        ]
    )


def _hops(executions: Sequence[Execution]) -> str:
    rows: list[list[str | int | float]] = []
    for one in executions:
        by_kind = Counter[str]()
        for name, times in one.calls.items():
            by_kind[name.split()[0]] += times
        out = sum(size for _, size in one.sent)
        kinds = [by_kind[kind] or "" for kind in KINDS]
        rows.append([name_of(one), one.store_calls, *kinds, one.rows, len(one.sent) or "", out or "", one.log_bytes])
    sums = [sum(int(row[i] or 0) for row in rows) for i in range(1, len(rows[0]))]
    header = ("execution", "calls", *KINDS, "rows billed", "messages", "bytes sent", "log bytes")
    return grid(header, [*rows, [f"{len(rows)} executions", *sums]], rule_before_last=True)


def _tables(executions: Sequence[Execution]) -> str:
    found = sum((one.calls for one in executions), Counter[str]())
    names = sorted({name.split()[1] for name in found})
    rows: list[list[str | int | float]] = []
    for name in names:
        each = [found[f"{kind} {name}"] for kind in KINDS]
        rows.append([name, sum(each), *(times or "" for times in each)])
    return grid(("table", "calls", *KINDS), rows)


def _queues(executions: Sequence[Execution]) -> str:
    count, size = Counter[str](), Counter[str]()
    for one in executions:
        for queue, length in one.sent:
            count[str(queue)] += 1
            size[str(queue)] += length
    return grid(("queue", "messages", "bytes"), [[name, count[name], size[name]] for name in sorted(count)])


def _dollars(costs: Costs) -> str:
    given = (
        costs.sparse,
        bill.sparse(costs.loop, costs.prices, (HTTP, DURABLE)),
        costs.busy,
    )
    rows: list[list[str | int | float]] = [
        [meter, *(one.usd[i] for one in given)] for i, meter in enumerate(bill.METERS)
    ]
    rows.append(["total", *(one.total for one in given)])
    shared = costs.prices.rules["shared_per_second"]
    found = bill.activations(costs.loop, costs.prices)
    return (
        grid(("meter", "sparse", "sparse, queues only", "busy"), rows, rule_before_last=True)
        + f"\n\nsparse: {len(costs.loop)} executions in {len(found)} activations, {costs.sparse.seconds:.1f} s billed;"
        + " webhooks, pages and the wait for people are in it"
        + f"\nbusy: {costs.crowd_of} incidents at once, {shared:.0f} executions share each second:"
        + f" {costs.busy.seconds:.2f} s and {len(costs.crowd) / costs.crowd_of:.1f} executions an incident"
    )


def _waiting(costs: Costs) -> str:
    each = bill.sparse(costs.polls, costs.prices)
    return (
        f"Each further poll of the wait while nobody answers (approvals.poll_s): {len(costs.polls)} executions,"
        f" {sum(one.store_calls for one in costs.polls)} store calls, ${each.total:.4f} per 1,000"
    )


def _background(costs: Costs) -> str:
    rows: list[list[str | int | float]] = []
    for timer in costs.timers:
        rows.append([timer.name, timer.schedule, timer.per_day, timer.store_calls, timer.usd_per_day(costs.prices)])
    total = sum(timer.usd_per_day(costs.prices) for timer in costs.timers)
    rows.append(["all", "", sum(t.per_day for t in costs.timers), "", total])
    return "Timers, whether anything happens or not; counted apart\n\n" + grid(
        ("timer", "schedule", "runs a day", "store calls each", "$ a day"), rows, rule_before_last=True
    )


def _gates(costs: Costs) -> str:
    rows: list[list[str | int | float]] = []
    for gate in costs.gates():
        whole = gate.value == int(gate.value)
        said = f"<= {gate.most:g}" + (f" (stretch {gate.stretch:g})" if gate.stretch else "")
        value: int | float = int(gate.value) if whole else gate.value
        rows.append([gate.name, value, said, "held" if gate.held else "MISSED"])
    return grid(("gate", "is", "must be", ""), rows)


def data(costs: Costs) -> dict[str, Any]:
    """For scripts."""

    def told(one: bill.Bill) -> dict[str, Any]:
        return {"total": one.total, "seconds": one.seconds, **dict(zip(bill.METERS, one.usd, strict=True))}

    return {
        "counts": costs.counts(),
        "usd_per_1000": {"sparse": told(costs.sparse), "busy": told(costs.busy)},
        "gates": [{"name": g.name, "value": g.value, "most": g.most, "held": g.held} for g in costs.gates()],
        "timers_usd_per_day": {timer.name: timer.usd_per_day(costs.prices) for timer in costs.timers},
        "prices": {"usd": dict(costs.prices.usd), "sources": dict(costs.prices.sources)},
    }


def above(counts: Mapping[str, int], baseline: Mapping[str, int]) -> list[str]:
    """Which counts are higher than those of the baseline, in words."""
    return [
        f"{name}: {count}, the baseline has {baseline.get(name, 0)}"
        for name, count in counts.items()
        if count > baseline.get(name, 0)
    ]


def below(counts: Mapping[str, int], baseline: Mapping[str, int]) -> list[str]:
    """Which counts are lower; the baseline can be rewritten."""
    return [
        f"{name}: {counts.get(name, 0)}, the baseline has {count}"
        for name, count in baseline.items()
        if counts.get(name, 0) < count
    ]


def dumped(found: Mapping[str, Any]) -> str:
    """JSON with one figure a line."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
