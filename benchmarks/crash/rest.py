"""Whether a town is at rest, so that what became of everything can be compared.

In: a town, what was played, the kills. Out: something that is still going on, or nothing.
"""

from __future__ import annotations

import sqlite3

from benchmarks.aftermath import left_undone, queue_problems
from benchmarks.crash.killer import Killer
from benchmarks.crash.ledger import waits
from benchmarks.crash.queues import Queues
from benchmarks.crash.scripts import Performance, Play
from benchmarks.crash.stage import Stage, incident_id_of, key_of
from benchmarks.crash.town import Town
from shared.model.errors import TransientError
from shared.model.lifecycle import State
from shared.ports.store import Store
from shared.records import groups, incidents


def restless(town: Town, store: Store, stage: Stage, killer: Killer | None, settled: bool) -> str:
    """Something that is still going on; empty at rest.

    Args:
        settled: groups must be free as well, 20 s after the end of their incidents.
    """
    queues = town.queues()
    try:
        for one in stage.played:
            if one.script.play is not Play.QUIET and one not in stage.stuck:
                busy = _unfinished(one, store, queues, settled)
                if busy:
                    return busy
        late = killer.unsettled() if killer else []
        if late:
            return f"what kill {late[0].number} interrupted is not worked off"
        return next(queue_problems(town.url("stats")), "")
    except OSError:
        return "the broker is away"
    except TransientError:
        return "the store is busy"


def wait_alive(town: Town, approval: str) -> bool:
    """Whether the durable instance of an approval waits."""
    try:
        return waits(town).get(approval) in ("Pending", "Running")
    except sqlite3.Error:
        return False  # busy; it is asked again


def _unfinished(one: Performance, store: Store, queues: Queues, settled: bool) -> str:
    loaded = incidents.load(store, incident_id_of(one))
    if loaded is None or loaded.incident.state is not State.CLOSED:
        return f"{one} is not closed"
    if not loaded.incident.documents:
        return f"{one} is not written down"
    left = next(left_undone(store, incident_id_of(one), str(one), settled), "")
    if left or not settled:
        return left
    group = groups.state_of(store, key_of(one.service))
    if group is None or group.state is not groups.Claim.CLOSED:
        return f"the group of {one} is not free"
    return f"a message about {one} is on a queue" if queues.speak_of(incident_id_of(one)) else ""
