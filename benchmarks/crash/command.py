"""The crash harness: ``python -m benchmarks crash --kills N --seed S``.

In: how many kills, a seed. Out: every kill with its recovery time, what was covered, and a last line that says what was
lost and doubled; exit code 1 when anything was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.aftermath import tracebacks
from benchmarks.crash.choose import Chooser, seeded
from benchmarks.crash.compare import Verdict, judge
from benchmarks.crash.killer import MAX_MISSES, Killer, NobodyComes
from benchmarks.crash.ledger import far_sides, outcome, waits
from benchmarks.crash.people import GaveUp, until
from benchmarks.crash.points import Point, census, parse
from benchmarks.crash.report import measured, report
from benchmarks.crash.rest import restless, wait_alive
from benchmarks.crash.scripts import plan
from benchmarks.crash.stage import Stage, incident_id_of
from benchmarks.crash.town import HOSTS, LOCK_S, Town
from benchmarks.crash.trail import Trail
from local.stack.places import StackError
from shared.ports.store import Store
from shared.records import incidents

CALM_S = 420.0
POLL_S = 0.5
WAIT_ALIVE_S = 30.0
SHOP_RPS = 8
BREATH_S = 8.0  # Teams takes four cards a second; with more than that it would be throttling that is measured


def main(arguments: Sequence[str]) -> int:
    """Run the harness.

    Returns:
        0 when nothing was lost and nothing doubled, 1 otherwise, 2 for wrong usage.
    """
    options = _parser().parse_args(arguments)
    data = options.data or Path(tempfile.mkdtemp(prefix="argus-crash-"))
    storm = Storm(options, data)
    try:
        good = storm.run()
    except (StackError, NobodyComes) as error:
        print(f"error: {error}", file=sys.stderr)
        good = False
    except KeyboardInterrupt:
        print("\nstopped; nothing is judged", flush=True)
        return 130
    if good and options.data is None:
        shutil.rmtree(data, ignore_errors=True)
    else:
        print(f"everything is kept in {data}" if options.data is None else f"data: {data}")
    print(storm.last_line(good), flush=True)
    return 0 if good else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks crash",
        description="Plays incidents on a local stack, kills its processes with -9 at seeded points, and compares "
        "the end with the undisturbed run of the same seed.",
        epilog="A single kill again: --kills 1 --only SPEC with the SPEC that its line shows, such as "
        "host:effect:after:servicenow.open:1, and the same seed.",
    )
    parser.add_argument("--kills", type=_count, default=50, help="deaths that really happen (default 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the incidents, the points and their order (default 1)")
    parser.add_argument("--apps", type=int, choices=sorted(HOSTS), default=1, help="3: edge, core and exec apart")
    parser.add_argument(
        "--only", type=_spec, action="append", metavar="SPEC", help="kill at these points only, in turn"
    )
    parser.add_argument("--light", action="store_true", help="few incidents and no shop, to be quick")
    parser.add_argument("--lock", type=int, default=LOCK_S, help=f"lock duration of the queues, in seconds ({LOCK_S})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    parser.add_argument("--data", type=Path, help="an empty folder for the stack; kept (default: a temporary one)")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("no fewer than 0 kills")
    return number


def _spec(text: str) -> tuple[Point, int]:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@dataclass
class Storm:
    """One run, from the start of the stack to the verdict."""

    options: argparse.Namespace
    data: Path
    verdict: Verdict = field(default_factory=Verdict)
    killer: Killer | None = None
    census: dict[Point, int] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    played: int = 0
    dead: list[str] = field(default_factory=list)

    def run(self) -> bool:
        """Play, kill, compare."""
        options = self.options
        self.say(f"seed {options.seed}, {options.kills} kills, {options.apps} host(s), data in {self.data}")
        town = Town(self.data, apps=options.apps, load_rps=SHOP_RPS, lock_s=options.lock, shops=not options.light)
        town.up()
        try:
            return self._play(town)
        finally:
            if self.killer is not None:
                self.killer.close()
            town.end()

    def _play(self, town: Town) -> bool:
        options, store = self.options, town.open_store()
        trail = Trail(town.points, HOSTS[options.apps], town.queues())
        calm = Stage(town, plan(options.seed, options.light))
        self.say("undisturbed: every script once")
        calm.undisturbed()
        self._rest(town, store, calm)
        far = far_sides(town)
        undisturbed = {one.script.number: outcome(one, store, far) for one in calm.played}
        self.census = dict(census(town.points))
        self.say(f"undisturbed: {len(calm.played)} scripts ended, {len(self.census)} points passed")
        self.killer = Killer(town, trail, seeded(options.seed), self.say)
        storm = Stage(town, plan(options.seed, options.light), breath_s=0.5 if options.light else BREATH_S)
        storm.storm()
        try:
            self._kill(self.killer)
            self._ask_who_waits(town, store, storm)
        finally:
            storm.over.set()
        self.say("what was begun comes to its end")
        storm.join()
        self._rest(town, store, storm)
        self.say("all is calm; comparing")
        played = [*calm.played, *storm.played]
        self.played = len(played)
        self.verdict = judge(town, store, trail, played, undisturbed, self.killer.kills, settled=not options.light)
        self.verdict.lost += [f"{one}: {why}" for one, why in {**calm.stuck, **storm.stuck}.items()]
        self.verdict.lost += [*self.dead, *self.killer.accidents]
        self.verdict.lost += [
            f"kill {kill.number} ({kill.spec}): {kill.left} is not worked off" for kill in self.killer.unsettled()
        ]
        logs = town.places.logs.glob("*.log")
        self.verdict.notes += [f"{log.name}: {found}" for log in logs for found in tracebacks(log)]
        print("\n" + report(self.census, self.killer, self.verdict, self.played), flush=True)
        if options.json:
            run = {"seed": options.seed, "apps": options.apps, "lock_s": options.lock, "performances": self.played}
            found = measured(self.killer, self.verdict)
            whole = {**run, "seconds": round(time.monotonic() - self.began, 1), **found}
            options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        return self.verdict.good

    def _kill(self, killer: Killer) -> None:
        """Kill as often as was asked."""
        chooser = Chooser(self.census, self.options.seed)
        misses = 0
        while len(killer.kills) < self.options.kills:
            number = len(killer.kills) + 1
            only = self.options.only
            point, nth = only[(number - 1) % len(only)] if only else chooser.next()
            if killer.kill(number, point, nth):
                chooser.reached(point)
                misses = 0
                continue
            chooser.missed(point)
            misses += 1
            if misses >= MAX_MISSES:
                raise NobodyComes(f"{misses} points in a row were not reached; the last one was {point}")

    def _ask_who_waits(self, town: Town, store: Store, stage: Stage) -> None:
        """Every durable wait must be alive when the storm is over; that it answers a vote shows afterwards."""
        waiting = stage.waiting()
        for one in waiting:
            loaded = incidents.load(store, incident_id_of(one))
            asked = loaded.incident.approval if loaded else None
            if asked is None or asked.verdict is not None:
                self.dead.append(f"{one} does not wait for people any more")
                continue
            try:
                until(f"the wait of {one} to be alive", partial(wait_alive, town, asked.id), WAIT_ALIVE_S)
            except GaveUp:
                self.dead.append(f"the durable wait of {one} is {waits(town).get(asked.id, 'missing')}")
        self.say(f"the storm is over; {len(waiting) - len(self.dead)} of {len(waiting)} durable waits are alive")

    def _rest(self, town: Town, store: Store, stage: Stage) -> None:
        """Wait until all is calm; what is not by then is found by the comparison."""
        deadline, problem = time.monotonic() + CALM_S, ""
        while time.monotonic() < deadline:
            problem = restless(town, store, stage, self.killer, settled=not self.options.light)
            if not problem:
                return
            time.sleep(POLL_S)
        self.say(f"not calm after {CALM_S:.0f} s: {problem}")

    # --- telling

    def say(self, text: str) -> None:
        """Print a line with the time since the start."""
        seconds = int(time.monotonic() - self.began)
        print(f"{seconds // 60:02d}:{seconds % 60:02d} {text}", flush=True)

    def last_line(self, good: bool) -> str:
        """The verdict in one line."""
        kills = len(self.killer.kills) if self.killer else 0
        counts = f"{len(self.verdict.lost)} lost, {len(self.verdict.doubled)} double"
        if not good and self.verdict.good:
            counts = "not judged: the run did not come to its end"
        return f"{kills} kills: {counts}"
