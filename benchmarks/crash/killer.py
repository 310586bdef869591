"""Kills processes at armed points, one after the other, and starts them again.

In: points, a running town. Out: every kill with what it interrupted and how long it took until that was worked off.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.crash.points import Point, arm, armed_file, deaths_file
from benchmarks.crash.town import HOSTS, Town
from benchmarks.crash.trail import Message, Trail

REACH_S = 30.0
POLL_S = 0.02
WATCH_S = 0.25
PAUSE_S = (0.2, 1.2)
MAX_MISSES = 25  # in a row


@dataclass(slots=True)
class Kill:
    """One death.

    Attributes:
        about: what was at hand at the point: an incident, a message or a key.
        at: seconds of the epoch.
        interrupted: messages in flight in a host at that moment; ``left`` are those not worked off yet.
        answers_s: from the start of its successor until that answered.
        worked_off_s: from the same moment until everything interrupted was settled; ``None`` while it is not.
    """

    number: int
    point: Point
    nth: int
    about: str
    at: float
    interrupted: tuple[Message, ...]
    answers_s: float = 0.0
    worked_off_s: float | None = None
    restarted_at: float = 0.0
    left: list[Message] = field(default_factory=list)

    @property
    def spec(self) -> str:
        """What ``--only`` takes."""
        return f"{self.point}:{self.nth}"


class NobodyComes(Exception):
    """No point was reached for a long time."""


class Killer:
    """Does the killing.

    Args:
        trail: what the hosts note.
        say: is told of each step in words.
    """

    def __init__(self, town: Town, trail: Trail, rng: random.Random, say: Callable[[str], None]) -> None:
        self.kills: list[Kill] = []
        self.misses: list[Point] = []
        self.accidents: list[str] = []
        self._town, self._trail, self._rng, self._say = town, trail, rng, say
        self._store = town.open_store()
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._watch_recovery, daemon=True)
        self._watch.start()

    def kill(self, number: int, point: Point, nth: int) -> bool:
        """Wait for a process to die at a point, and start it again; False when nobody came by in time."""
        folder, child = self._town.points, self._town.child(point.process)
        arm(folder, number, point, nth)
        deadline = time.monotonic() + REACH_S
        while child.process.poll() is None and time.monotonic() < deadline:
            self._revive_accidents(but=point.process)
            time.sleep(POLL_S)
        armed_file(folder, point.process).unlink(missing_ok=True)
        if child.process.poll() is None:
            time.sleep(POLL_S)  # it may have read the order a moment ago
        if child.process.poll() is None:
            self.misses.append(point)
            self._say(f"          {point}:{nth} was not reached in {REACH_S:.0f} s; another one is drawn")
            return False
        death = self._death(number)
        if death is None:
            self._accident(child.name)
            return False
        at = float(str(death["at"]))
        interrupted = self._trail.in_flight(at, self._hosts())
        kill = Kill(number, point, nth, str(death["about"]), at, interrupted)
        kill.left = list(interrupted)
        kill.restarted_at = time.time()
        self._town.revive(child)
        kill.answers_s = time.time() - kill.restarted_at
        self.kills.append(kill)
        time.sleep(self._rng.uniform(*PAUSE_S))
        return True

    def unsettled(self) -> list[Kill]:
        """Kills whose interrupted work is not yet done."""
        return [kill for kill in self.kills if kill.worked_off_s is None]

    def close(self) -> None:
        """Stop watching."""
        self._ended.set()
        self._watch.join()

    def _hosts(self) -> set[int]:
        return {self._town.child(name).pid for name in HOSTS[self._town.apps]}

    def _death(self, number: int) -> dict[str, object] | None:
        return next((line for line in self._deaths() if line["number"] == number), None)

    def _deaths(self) -> Iterator[dict[str, object]]:
        file = deaths_file(self._town.points)
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            yield json.loads(line)

    def _revive_accidents(self, but: str) -> None:
        dead = self._town.ended()
        if dead is not None and dead.name != but:
            self._accident(dead.name)

    def _accident(self, name: str) -> None:
        """A process that ended by itself is a fault of its own, and is started again so that the rest can be seen."""
        child = self._town.child(name)
        self.accidents.append(f"{name} ended by itself (code {child.process.returncode})")
        self._say(f"          {self.accidents[-1]}:\n{child.tail()}")
        self._town.revive(child)

    def _watch_recovery(self) -> None:
        while not self._ended.wait(WATCH_S):
            for kill in list(self.kills):
                if kill.worked_off_s is None:
                    self._look(kill)

    def _look(self, kill: Kill) -> None:
        kill.left = [message for message in kill.left if not self._trail.worked_off(message, self._store)]
        if not kill.left:
            kill.worked_off_s = max(kill.answers_s, time.time() - kill.restarted_at)
            took = f"worked off after {kill.worked_off_s:.1f} s"
            self._say(f"  kill {kill.number:>3}  {kill.spec:<52} answers after {kill.answers_s:.1f} s, {took}")
