"""Who owns the Durable hub: this host, another one, or, when that one dies, this one after all.

In: the hub's file, the app. Out: `Operations` while this host owns it; the owner's address while another does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path

from local.host.clock import Clock
from local.host.durable.operations import Operations
from local.host.durable.scheduler import Functions, Scheduler
from local.host.durable.storage import HubOwnedElsewhere, HubStore

log = logging.getLogger("local.host.durable")
TAKEOVER_EVERY_S = 0.5


class Hub:
    """The hub as this host sees it.

    The owner holds a file lock, which the system releases when its process ends, however it ends. Everybody else
    tries to get it twice a second; whoever succeeds takes up every instance as a start does.

    Args:
        path: the hub's SQLite file, None when the app has no durable functions of its own.
        functions: the app's.
        max_activities: at once.
        clock: the host's.
        address: where this host serves, for those that do not own the hub.
    """

    def __init__(
        self, path: Path | None, functions: Functions, max_activities: int, clock: Clock, address: str
    ) -> None:
        self._path = path
        self._functions = functions
        self._max_activities = max_activities
        self._clock = clock
        self._address = address
        self._owned: tuple[Scheduler, Operations] | None = None
        self._trying: asyncio.Task[None] | None = None
        self._stopping = False
        if path is not None and not self._own(path):
            log.warning("another host owns %s: this one waits for its end", path)

    @property
    def operations(self) -> Operations | None:
        """What clients may do here, None while another host owns the hub."""
        return None if self._owned is None else self._owned[1]

    @property
    def owner(self) -> str:
        """Address of the host that owns the hub, as it left it; "" when nobody has."""
        if self._path is None:
            return ""
        with contextlib.suppress(OSError):
            return self._note(self._path).read_text(encoding="utf-8").strip()
        return ""

    def start(self) -> None:
        """Takes up every instance, or waits for the hub; needs a running loop."""
        if self._owned is not None:
            self._owned[0].start()
        elif self._path is not None:
            self._trying = asyncio.create_task(self._take_over(self._path), name="durable hub")

    def stop(self) -> None:
        """Begins nothing new; answers are still written down."""
        self._stopping = True
        if self._trying is not None:
            self._trying.cancel()
        if self._owned is not None:
            self._owned[0].stop()

    async def finish(self) -> None:
        """Gives the hub up."""
        if self._owned is not None:
            await self._owned[0].finish()

    @staticmethod
    def _note(path: Path) -> Path:
        return path.with_name(f"{path.name}.owner")

    def _own(self, path: Path) -> bool:
        try:
            store = HubStore(path)
        except HubOwnedElsewhere:
            return False
        scheduler = Scheduler(store, self._functions, self._max_activities, self._clock)
        self._owned = scheduler, Operations(scheduler, store, self._functions, self._clock)
        try:
            self._note(path).write_text(self._address, encoding="utf-8")
        except OSError as exc:  # others cannot pass their clients on, and say so to them
            log.warning("%s cannot be written: %s", self._note(path), exc.strerror)
        return True

    async def _take_over(self, path: Path) -> None:
        while not self._stopping:
            try:
                if self._own(path):
                    break
            except (OSError, sqlite3.Error) as exc:
                log.warning("the durable hub %s cannot be opened, trying again: %s", path, exc)
                await asyncio.sleep(10 * TAKEOVER_EVERY_S)
            await asyncio.sleep(TAKEOVER_EVERY_S)
        if self._owned is not None:
            log.warning("this host owns %s now", path)
            self._owned[0].start()
