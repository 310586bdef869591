"""Named points that a process passes, and its death with -9 at the one that is armed.

In: an order in a file, which the harness writes while the process runs. Out: a census of every point passed, a log of
what was taken and done, and one line before each death.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "CRASH_FOLDER"  # not ARGUS_*: the stack keeps those of a shell away from its processes
BEFORE, AFTER = "before", "after"
COUNTED = 3  # the census tells once, twice, three times and more apart


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """A place in the code of a process, by what happens there.

    Attributes:
        kind: intent, effect, commit, write, send, settle or wait.
        when: ``before`` or ``after`` it happens.
        name: what exactly, such as ``servicenow.open``; never with a colon.
    """

    process: str
    kind: str
    when: str
    name: str

    def __str__(self) -> str:
        return f"{self.process}:{self.kind}:{self.when}:{self.name}"

    @property
    def sort(self) -> tuple[str, str]:
        """Whose kind of point it is; every sort gets its share of the kills."""
        whose = self.process if self.process in ("broker", "sandbox") else "host"
        return f"{whose} {self.kind}", self.when


def parse(text: str) -> tuple[Point, int]:
    """A point, and at which time it passes, from ``process:kind:when:name[:nth]``.

    Raises:
        ValueError: it has another shape.
    """
    parts = text.strip().split(":")
    if len(parts) == 4:
        parts.append("1")
    if len(parts) != 5 or parts[2] not in (BEFORE, AFTER) or not parts[4].isdigit() or int(parts[4]) < 1:
        raise ValueError(f"{text!r} is not process:kind:before|after:name[:nth]")
    return Point(*parts[:4]), int(parts[4])


def die() -> None:
    """End this process as a power cut would: no handler, no flush, no farewell."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


class Points:
    """The points of one process.

    Args:
        folder: where orders are found and files are written; shared with the harness.
        process: name in the stack.
        death: what happens at the armed point; a test's may return.
    """

    def __init__(self, folder: Path, process: str, death: Callable[[], None] = die) -> None:
        self.process = process
        self._order = armed_file(folder, process)
        self._census = _append(folder / f"census-{process}.log")
        self._log = _append(log_file(folder, process))
        self._deaths = _append(deaths_file(folder))
        self._death = death
        self._lock = threading.Lock()
        self._passed: Counter[Point] = Counter()
        self._seen = (0, 0)
        self._wanted: Point | None = None
        self._number = self._left = 0

    def passed(self, kind: str, when: str, name: str, about: str = "") -> None:
        """Say that a point is passed; this is where the process dies when it is the one.

        Args:
            about: incident, message or key at hand, for the log of the death.
        """
        point = Point(self.process, kind, when, name)
        with self._lock:
            self._passed[point] += 1
            if self._passed[point] <= COUNTED:
                os.write(self._census, f"{point}\n".encode())
            self._read_order()
            if self._wanted != point:
                return
            self._left -= 1
            if self._left > 0:
                return
            self._wanted = None
            line = {"number": self._number, "point": str(point), "about": about, "pid": os.getpid(), "at": time.time()}
            os.write(self._deaths, json.dumps(line).encode() + b"\n")
            self._death()

    @contextmanager
    def around(self, kind: str, name: str, about: str = "") -> Iterator[None]:
        """Both sides of something that happens; what raised is not passed."""
        self.passed(kind, BEFORE, name, about)
        yield
        self.passed(kind, AFTER, name, about)

    def note(self, what: str, **fields: object) -> None:
        """One line of the log, in one write, so that a death leaves whole lines only."""
        line = {"what": what, "pid": os.getpid(), "at": time.time(), **fields}
        os.write(self._log, json.dumps(line).encode() + b"\n")

    def _read_order(self) -> None:
        try:
            found = self._order.stat()
        except FileNotFoundError:
            self._seen, self._wanted = (0, 0), None
            return
        if self._seen == (found.st_ino, found.st_mtime_ns):
            return
        try:
            order = json.loads(self._order.read_bytes())
        except FileNotFoundError:
            return  # taken back this very moment
        self._seen = (found.st_ino, found.st_mtime_ns)
        self._wanted, self._left = parse(order["point"])
        self._number = order["number"]


def of_this_process(process: str) -> Points:
    """The points of a process that the harness started.

    Raises:
        RuntimeError: nobody did.
    """
    folder = os.environ.get(FOLDER_VARIABLE, "")
    if not folder:
        raise RuntimeError(f"{FOLDER_VARIABLE} is not set; `python -m benchmarks crash` starts this")
    return Points(Path(folder), process)


def arm(folder: Path, number: int, point: Point, nth: int) -> None:
    """Order the death of a process at the ``nth`` time from now that it passes a point."""
    file = armed_file(folder, point.process)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"number": number, "point": f"{point}:{nth}"}), encoding="utf-8")
    partial.replace(file)


def armed_file(folder: Path, process: str) -> Path:
    """Where the order for a process stands."""
    return folder / f"armed-{process}.json"


def log_file(folder: Path, process: str) -> Path:
    """Where a process notes what it took and did."""
    return folder / f"log-{process}.jsonl"


def deaths_file(folder: Path) -> Path:
    """One line per death."""
    return folder / "deaths.jsonl"


def census(folder: Path) -> Counter[Point]:
    """Every point passed so far, and how often by one life of its process, at most ``COUNTED``."""
    found: Counter[Point] = Counter()
    for file in folder.glob("census-*.log"):
        lines = Counter(file.read_text(encoding="utf-8").splitlines())
        found.update({parse(line)[0]: min(times, COUNTED) for line, times in lines.items()})
    return found


def _append(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
