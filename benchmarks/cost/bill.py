"""From counts to dollars, sparse and busy.

In: executions of one incident, prices. Out: dollars per 1,000 incidents, by meter, and how often an instance wakes up.

Sparse: nothing else happens, so every execution pays for the second it wakes an instance for, unless one of the same
scaling group runs in that second. Busy: as many executions as the table of prices says share each second.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from benchmarks.cost.ledger import DURABLE, Execution
from benchmarks.cost.prices import Prices

PER = 1000  # incidents
LOG_GB = 1e9
METERS = ("compute", "executions", "Service Bus", "tables", "Durable's storage", "logs")


@dataclass(frozen=True, slots=True)
class Activation:
    """An instance that wakes up, works and is billed.

    Attributes:
        seconds: billed.
        executions: positions of those that share it.
    """

    scaling: str
    seconds: float
    executions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars per 1,000 incidents.

    Attributes:
        seconds: that instances are billed for, of one incident.
        usd: by meter, in the order of `METERS`.
    """

    seconds: float
    usd: tuple[float, ...]

    @property
    def total(self) -> float:
        """Of all meters."""
        return sum(self.usd)


def spans(executions: Sequence[Execution], prices: Prices) -> list[tuple[float, float]]:
    """When each execution begins and ends on Azure, in seconds from the first.

    What triggered it decides, and how long things are assumed to take; the virtual clock only moves people and timers.
    """
    took, found = prices.assumed, list[tuple[float, float]]()
    for one in executions:
        begins = (one.at - executions[0].at).total_seconds()
        if one.cause is not None:
            begins = max(begins, found[one.cause][1] + took["delivery_s"])
        ends = begins + took["handling_s"] + one.store_calls * took["store_call_s"] + len(one.sent) * took["send_s"]
        ends += one.effects * took["effect_s"] + (took["evidence_s"] if one.scaling == "investigations" else 0.0)
        found.append((begins, ends))
    return found


def activations(executions: Sequence[Execution], prices: Prices) -> list[Activation]:
    """Which executions share an activation when nothing else happens."""
    when, found = spans(executions, prices), list[Activation]()
    least, step = prices.rules["activation_min_s"], prices.rules["activation_step_s"]
    for scaling in dict.fromkeys(one.scaling for one in executions):
        mine = sorted((when[i], i) for i, one in enumerate(executions) if one.scaling == scaling)
        running: list[int] = []
        begins = ends = 0.0
        for (begin, end), position in mine:
            if running and begin > max(ends, begins + least):
                found.append(_activation(scaling, ends - begins, running, least, step))
                running = []
            if not running:
                begins, ends = begin, end
            running, ends = [*running, position], max(ends, end)
        found.append(_activation(scaling, ends - begins, running, least, step))
    return found


def _activation(scaling: str, seconds: float, running: Sequence[int], least: float, step: float) -> Activation:
    billed = max(least, math.ceil(round(seconds / step, 6)) * step)
    return Activation(scaling, billed, tuple(running))


def sparse(executions: Sequence[Execution], prices: Prices, leave_out: Collection[str] = ()) -> Bill:
    """Each incident alone.

    Args:
        leave_out: scaling groups that are taken as free, for comparison.
    """
    seconds = sum(one.seconds for one in activations(executions, prices) if one.scaling not in leave_out)
    return bill([one for one in executions if one.scaling not in leave_out], seconds, prices)


def busy(executions: Sequence[Execution], prices: Prices, incidents: int = 1) -> Bill:
    """Executions share the seconds of their instances.

    Args:
        incidents: how many the executions are of.
    """
    return bill(executions, len(executions) / prices.rules["shared_per_second"], prices, incidents)


def bill(executions: Sequence[Execution], seconds: float, prices: Prices, incidents: int = 1) -> Bill:
    """Dollars of executions that keep instances active for so long."""
    usd, rules = prices.usd, prices.rules
    operations = sum(
        max(1, math.ceil(size / rules["operation_bytes"])) * rules["operations_per_message"]
        for one in executions
        for _, size in one.sent
    )
    durable = sum(one.scaling == DURABLE for one in executions) * rules["durable_transactions"]
    charged = (
        seconds * prices.instance_gb * usd["function_gb_second"],
        len(executions) * usd["function_execution"],
        operations * usd["service_bus_operation"],
        sum(one.rows for one in executions) * usd["table_transaction"],
        durable * usd["table_transaction"],
        sum(one.log_bytes for one in executions) / LOG_GB * usd["log_gb"],
    )
    return Bill(seconds / incidents, tuple(PER / incidents * one for one in charged))
