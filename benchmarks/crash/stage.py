"""Plays scripts on the running stack, several at once, and keeps playing until it is told that the storm is over.

In: scripts and a stack. Out: performances, and what got stuck in any of them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from benchmarks.crash.people import TRIES_S, GaveUp, People, until
from benchmarks.crash.scripts import Performance, Play, Script, of_slots, perform
from benchmarks.crash.town import Town
from local.demo.operator import azure_alert
from shared.model.approval import Verdict
from shared.model.errors import ArgusError
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.ports.store import Store
from shared.records import groups, incidents

SLOTS = 4
MAX_WAITING = 6
CALM_S = 15.0  # the shop must be well for so long before it breaks again: that is the baseline
BROKEN_S = 3.0
ASK_AGAIN_S = 40.0


def key_of(service: str) -> str:
    """Group key of a service; the harness groups by nothing else."""
    return f"service={service}"


def incident_id_of(performance: Performance) -> str:
    """The incident a performance leads to."""
    return groups.incident_id_of(key_of(performance.service), performance.generation)


class Stage:
    """Where scripts are performed.

    Args:
        scripts: the plan of one cycle.
        breath_s: rest between two performances.
    """

    def __init__(self, town: Town, scripts: Sequence[Script], breath_s: float = 0.0) -> None:
        self.played: list[Performance] = []
        self.stuck: dict[Performance, str] = {}
        self.over = threading.Event()
        self._town = town
        self._people = People(town)
        self._store: Store = town.open_store()
        self._queues = town.queues()
        self._scripts = tuple(scripts)
        self._breath_s = breath_s
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def undisturbed(self) -> None:
        """Perform every script once, all at the same time, and return when they have ended."""
        over = threading.Event()
        over.set()
        for script in self._scripts:
            self._start(partial(self._perform, script, 0, over))
        self.join()

    def storm(self) -> None:
        """Begin to perform for as long as the storm lasts."""
        slots, numbers = itertools.cycle(of_slots(self._scripts)), itertools.count(len(of_slots(self._scripts)))

        def keep_going() -> None:
            while not self.over.is_set():
                with self._lock:
                    script, number = next(slots), next(numbers)
                self._perform(script, number // len(of_slots(self._scripts)), self.over)
                self.over.wait(self._breath_s)

        for _ in range(min(SLOTS, len(of_slots(self._scripts)))):
            self._start(keep_going)
        for script in self._scripts:
            if script.play is Play.LOOP:
                self._start(partial(self._one_after_the_other, script))
            if script.play is Play.WAIT:
                for cycle in range(1, MAX_WAITING + 1):
                    self._start(partial(self._perform, script, cycle, self.over))

    def waiting(self) -> list[Performance]:
        """Performances whose question has been put to people, who are in no hurry."""
        found = [one for one in self.played if one.script.play is Play.WAIT and one not in self.stuck]
        for one in found:
            self._incident(one, "the question to people", lambda incident: incident.approval is not None)
        return found

    def join(self) -> None:
        """Wait until everything that was begun has ended."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _start(self, what: Callable[[], None]) -> None:
        thread = threading.Thread(target=what, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _one_after_the_other(self, script: Script) -> None:
        for cycle in itertools.count(1):
            if self.over.is_set():
                return
            self._perform(script, cycle, self.over)

    def _perform(self, script: Script, cycle: int, over: threading.Event) -> None:
        performance = perform(script, cycle, len(self._scripts))
        with self._lock:
            self.played.append(performance)
        try:
            match script.play:
                case Play.QUIET:
                    self._fire(performance)
                case Play.RESOLVE:
                    self._resolve(performance)
                case Play.LOOP:
                    self._loop(performance)
                case _:
                    self._decide(performance, over)
        except (GaveUp, ArgusError) as error:
            self.stuck[performance] = str(error)

    # --- steps

    def _fire(self, performance: Performance) -> None:
        first, *others = performance.alerts
        self._people.send(first.source, first.body(0))
        if first.severity < 4:
            self._incident(performance, "the incident", lambda _: True)
        for number in range(1, first.firings):
            self._people.send(first.source, first.body(number))
        for alert in others:
            self._people.send(alert.source, alert.body(0))

    def _end(self, performance: Performance) -> None:
        identity = incident_id_of(performance)
        # Policy leaves out what comes after the end (rule H1), so everything before it is waited for.
        until(f"everything said so far of {performance}", lambda: not self._busy(identity))
        for alert in performance.alerts:
            self._people.send(alert.source, alert.body(alert.firings))
        self._incident(performance, "the end", lambda found: found.state is State.CLOSED)

    def _resolve(self, performance: Performance) -> None:
        self._fire(performance)
        wanted = len(performance.alerts)
        self._incident(performance, "all its alerts", lambda found: len(found.alerts) == wanted)
        self._incident(performance, "its ticket", lambda found: found.ticket is not None)
        self._incident(performance, "an investigation", lambda found: found.recommendation is not None)
        self._end(performance)

    def _decide(self, performance: Performance, over: threading.Event) -> None:
        self._fire(performance)
        asked = self._incident(performance, "the question to people", lambda found: found.approval is not None)
        self._incident(performance, "its ticket", lambda found: found.ticket is not None)
        assert asked.approval is not None
        if performance.script.play is Play.WAIT:
            over.wait()
        rejected = performance.script.play is Play.REJECT
        self._people.vote(asked.approval.id, "reject" if rejected else "approve")
        if rejected:
            self._incident(performance, "the rejection", lambda found: _verdict(found) is Verdict.REJECTED)
        else:
            self._incident(performance, "the action", lambda found: bool(found.actions))
        self._end(performance)

    def _loop(self, performance: Performance) -> None:
        """The whole loop on the shop: it breaks, is looked into, rolled back, measured, closed, written down."""
        if performance.generation > 1:
            self._free(performance.generation - 1)
        threading.Event().wait(CALM_S)
        self._people.deploy("2.4.1", f"crash-{performance.cycle}")
        threading.Event().wait(BROKEN_S)
        self._people.send("azure_monitor", azure_alert(datetime.now(UTC).replace(microsecond=0)))
        self._incident(performance, "the incident", lambda _: True)
        asked = self._asked(performance)
        assert asked.approval is not None
        self._people.vote(asked.approval.id, "approve")
        self._incident(performance, "the rollback", lambda found: bool(found.actions))
        self._incident(performance, "the end", lambda found: found.state is State.CLOSED)
        self._incident(performance, "its documents", lambda found: bool(found.documents))

    def _asked(self, performance: Performance) -> Incident:
        """The incident with its question; thin evidence in a storm may need another look, as people would ask for."""
        for _ in range(5):
            try:
                return self._incident(
                    performance, "the question to people", lambda found: found.approval is not None, ASK_AGAIN_S
                )
            except GaveUp:
                self._people.look_again(incident_id_of(performance))
        return self._incident(performance, "the question to people", lambda found: found.approval is not None)

    def _free(self, generation: int) -> None:
        def free() -> bool:
            group = groups.state_of(self._store, key_of("shop"))
            return group is not None and group.generation == generation and group.state is groups.Claim.CLOSED

        until(f"the shop's group to be free after generation {generation}", free)

    def _busy(self, identity: str) -> bool:
        return bool(incidents.outbox(self._store, identity)) or self._queues.speak_of(identity)

    def _incident(
        self, performance: Performance, what: str, fits: Callable[[Incident], bool], within_s: float = TRIES_S
    ) -> Incident:
        identity = incident_id_of(performance)

        def look() -> Incident | None:
            loaded = incidents.load(self._store, identity)
            return loaded.incident if loaded is not None and fits(loaded.incident) else None

        return until(f"{what} of {performance}", look, within_s)


def _verdict(incident: Incident) -> Verdict | None:
    return incident.approval.verdict if incident.approval else None
