"""What a process does once, or beside its hops: open links ahead, write counts in time, leave what stays alone.

In: an engine or a bus, when the app is built. Out: threads that end with the process.
"""

from __future__ import annotations

import atexit
import gc
import threading
from collections.abc import Mapping

from shared.dispatch.engine import Engine
from shared.model.pipeline import Queue, Role
from shared.ports.bus import Bus

LOOK_S = 1.0  # whether 5 s have passed since counts were written; a longer beat would add itself to them (rule S6)
YOUNG = 20_000  # new objects between two looks for garbage; most of a hop's are gone before
# What an alert's first notification goes through, and what the same hop sends beside it; and which app sends it.
FIRST_USED: Mapping[Queue, Role] = {
    Queue.SIGNALS: Role.EDGE,
    Queue.INCIDENTS: Role.CORE,
    Queue.NOTIFICATIONS: Role.CORE,
    Queue.TICKETS: Role.CORE,
    Queue.INVESTIGATIONS: Role.CORE,
}


def open_links_ahead(bus: Bus, roles: str) -> None:
    """The first alert after a start does not wait until links are opened; what hangs here hangs alone.

    Args:
        bus: one that opens nothing ahead is left as it is.
        roles: see `first_used`.
    """
    queues, ahead = first_used(roles), getattr(bus, "open", None)
    if ahead is not None and queues:
        threading.Thread(target=ahead, args=(queues,), name="open-links", daemon=True).start()


def first_used(roles: str) -> list[Queue]:
    """The queues an app of these roles sends to before an alert's first notification is out; none named is all."""
    named = {role.strip() for role in roles.split(",") if role.strip()} or set(Role)
    return [queue for queue, role in FIRST_USED.items() if role in named]


def leave_the_old_alone() -> None:
    """What is loaded by now stays; to look through all of it again and again is 4 % of a storm, 50 ms at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)


def keep_in_order(engine: Engine) -> None:
    """Also when nothing comes: write repeat counts, and before the process ends (rule S6); forget what is over."""

    def write(force: bool) -> None:
        engine.memory.flush(engine.ports.store, engine.clock(), force)

    def keep_on() -> None:
        while not over.wait(LOOK_S):
            write(force=False)
            engine.recent.tidy(engine.clock())

    over = threading.Event()
    threading.Thread(target=keep_on, name="housekeeping", daemon=True).start()
    atexit.register(write, force=True)
