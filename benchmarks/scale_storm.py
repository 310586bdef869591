"""How a storm folds in ARGUS, counted: rows, calls and messages of each stage, for alerts and for services.

In: nothing. Out: ratios. Waves of distinct alerts are played in the counted world of `benchmarks.cost.town`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cost.ledger import HTTP, Execution
from benchmarks.cost.town import CountedWorld
from benchmarks.load.identities import Identity, identities

SERVICES, WAVE = 20, 200  # 20 new incidents within a minute leave the storm brake off; with it on, less is done


@dataclass(frozen=True, slots=True)
class Ratios:
    """What one alert, or one service in one batch, makes each stage do.

    Attributes:
        bytes_per_alert: in a message of signals.
        edge_rows: per alert, one alert a POST.
        signals_rows: per alert; ``signals_rows_service`` per service in a batch, ``signals_calls`` likewise.
        join_messages: to `incidents`, for each incident that hears of more alerts; one message is for many.
        join_calls: of an incident that hears of them; ``join_rows`` likewise.
        open_calls: of a new incident, to its commit; ``open_rows`` likewise.
        told_calls: of the first notification; ``told_rows`` likewise.
    """

    bytes_per_alert: float
    edge_rows: float
    signals_rows: float
    signals_rows_service: float
    signals_calls: float
    join_messages: float
    join_calls: float
    join_rows: float
    open_calls: float
    open_rows: float
    told_calls: float
    told_rows: float


def ratios() -> Ratios:
    """Played and counted; the same on every machine."""
    alerts = identities(1, 2000, SERVICES)
    first = {alert.service: alert for alert in reversed(alerts)}
    others = [alert for alert in alerts if first[alert.service] is not alert]
    with tempfile.TemporaryDirectory(prefix="argus-scale-") as folder:
        world = CountedWorld(Path(folder), sorted(first))
        opening = _wave(world, list(first.values()))
        small = _wave(world, others[:WAVE])
        large = _wave(world, others[WAVE : 3 * WAVE])
    sent = sum(size for one in large for queue, size in one.sent if str(queue) == "signals")
    per_alert = (_rows(large, "signals") - _rows(small, "signals")) / WAVE
    joined = [one for one in (*small, *large) if one.scaling == "incidents"]
    joins = sum(one.calls["transact incidents"] for one in joined)
    told = sum(one.scaling == "notifications" for one in opening)
    return Ratios(
        bytes_per_alert=sent / (2 * WAVE),
        edge_rows=_rows(large, HTTP) / (2 * WAVE),
        signals_rows=per_alert,
        signals_rows_service=(_rows(large, "signals") - 2 * WAVE * per_alert) / SERVICES,
        signals_calls=_calls(large, "signals") / SERVICES,
        join_messages=sum(str(queue) == "incidents" for one in large for queue, _ in one.sent) / SERVICES,
        join_calls=_calls(joined, "incidents") / joins,
        join_rows=_rows(joined, "incidents") / joins,
        open_calls=_calls(opening, "incidents") / SERVICES,
        open_rows=_rows(opening, "incidents") / SERVICES,
        told_calls=_calls(opening, "notifications") / told,
        told_rows=_rows(opening, "notifications") / told,
    )


def _wave(world: CountedWorld, alerts: Sequence[Identity]) -> Sequence[Execution]:
    before = len(world.ledger.executions)
    world.webhooks("Fired", alerts)
    world.settle()
    return world.ledger.executions[before:]


def _rows(executions: Sequence[Execution], scaling: str) -> int:
    return sum(one.rows for one in executions if one.scaling == scaling)


def _calls(executions: Sequence[Execution], scaling: str) -> int:
    return sum(one.store_calls for one in executions if one.scaling == scaling)
