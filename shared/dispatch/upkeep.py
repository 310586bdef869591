"""The slow rounds: heads of audit chains are anchored, and what has been kept for long enough goes.

In: timer ticks. Out: anchored heads, and rows that are gone, both told (rules H11 and H12).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from shared.dispatch.beating import beats, undone
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.pipeline import MicroAgent
from shared.ports.anchor import Ledger
from shared.records import anchoring, retention, retention_run

log = logging.getLogger("argus.dispatch")


@beats("anchor")
def anchor(engine: Engine, ledger: Ledger, everything: bool = False) -> anchoring.Anchored:
    """Anchor the heads that are new; a chain that does not continue what was anchored is told and left alone."""
    store, now = engine.ports.store, engine.clock()
    done = anchoring.run(store, ledger, now, everything)
    anchoring.note(store, ledger, now)
    for chain, problem in done.problems:
        log.error("the audit chain %s is broken: %s", chain, problem)
    if done.problems:
        undone(engine, "anchor", f"{len(done.problems)} audit chain(s) are broken; see `python -m argus audit verify`")
        first, problem = done.problems[0]
        what = f"{len(done.problems)} audit chains are broken"
        show(MicroAgent.CONDUCTOR, what, f"{first}: {problem}", "")
    return done


@beats("purge")
def purge(engine: Engine, ledger: Ledger) -> tuple[retention.Tally, ...]:
    """Anchor every chain there is, then let go what has been kept for long enough.

    It ends by itself before the function time-out; the next day goes on where this one stopped.
    """
    settings, began = engine.ports.settings, engine.clock()
    anchor(engine, ledger, everything=True)
    rules = retention.rules_of(settings.retention, settings.host.retry_hours)
    order = retention_run.Order(began, engine.clock, enough=_late(engine, 0.8))
    tallies = retention_run.run(engine.ports.store, rules, order)
    rows = sum(tally.rows for tally in tallies)
    if rows:
        why = "; ".join(f"{tally.rows} {tally.rule}" for tally in tallies if tally.rows)
        show(MicroAgent.CONDUCTOR, f"purged {rows} rows", why, "")
    return tallies


def _late(engine: Engine, share: float) -> Callable[[], bool]:
    end = engine.clock() + timedelta(seconds=engine.ports.settings.host.function_timeout_s * share)
    return lambda: engine.clock() >= end
