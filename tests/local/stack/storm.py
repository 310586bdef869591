"""A storm of alerts on a real stack whose processes are killed at random moments, and what must hold afterwards.

In: a seed. Out: what is wrong, as sentences; none is what a good night looks like. By hand:
``python -m tests.local.stack.storm 1 2 3 [--three]`` plays these seeds and says how long each needed to become calm.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.aftermath import left_undone, quarantine_problems, queue_problems, repeated_notes, tracebacks
from benchmarks.alerts import Planned
from local.demo.operator import get_json
from shared.adapters.stores.sqlite import SqliteStore
from shared.records import groups
from tests.local.stack.driver import RunningStack

LANES = 4
EVERYTHING = "everything"  # a power cut
VICTIMS = ("host", "host", "host", "broker", "broker", "sandbox", "shop", "supervisor", EVERYTHING)
VICTIMS_OF_THREE = ("edge", "core", "core", "exec", "broker", "sandbox", EVERYTHING)
KILLS = 5


def plan(rng: random.Random, services: int, alerts: int) -> list[Planned]:
    """Alerts of some services; of two services in three every alert ends, of the others none."""
    found = []
    for number in range(alerts):
        service = number % services
        quiet = number >= services and rng.random() < 0.1  # Sev4 is listed and opens nothing
        found.append(
            Planned(
                source=rng.choice(("azure_monitor", "alertmanager")),
                service=f"svc-{service:02d}",
                name=f"alert-{number:03d}",
                severity=4 if quiet else rng.randint(0, 3),
                firings=rng.choice((1, 1, 2, 3)),
                ends=service % 3 != 2,
            )
        )
    return found


@dataclass
class Storm:
    """One storm, from the first alert until everything is calm."""

    stack: RunningStack
    seed: int
    services: int = 12
    alerts: int = 60
    victims: Sequence[str] = ()
    recovery_s: float = 0.0

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.planned = plan(self.rng, self.services, self.alerts)
        self._stop = threading.Event()

    def rage(self) -> None:
        """Post everything while processes die; returns when the last post was answered 2xx."""
        lanes = [threading.Thread(target=self._send, args=(lane, random.Random(lane))) for lane in range(LANES)]
        for lane in lanes:
            lane.start()
        try:
            for victim in self.victims:
                self._stop.wait(self.rng.uniform(0.1, 2.5))
                self._kill(victim)
            for lane in lanes:
                lane.join(60)
        finally:
            self._stop.set()
        assert not any(lane.is_alive() for lane in lanes), "a sender is still not answered 2xx after a minute"

    def _kill(self, victim: str) -> None:
        if victim == EVERYTHING:
            for pid in self.stack.up["pids"].values():
                os.kill(pid, signal.SIGKILL)
            self.stack.process.wait(30)
        else:
            self.stack.kill(victim)
        self.stack.start()

    def _send(self, lane: int, rng: random.Random) -> None:
        mine = [p for p in self.planned if int(p.service.removeprefix("svc-")) % LANES == lane]
        said = [(p, number) for p in mine for number in range(p.firings)]
        rng.shuffle(said)
        said.sort(key=lambda item: item[1])
        said += [(p, p.firings) for p in mine if p.ends]
        for alert, number in said:
            self._stop.wait(rng.uniform(0, 0.15))
            while not self._stop.is_set() and self.stack.post(alert.source, alert.body(number))[0] != 202:
                self._stop.wait(0.1)

    def calm(self, timeout_s: float) -> list[str]:
        """Wait until nothing is wrong any more; what still is at the end of the time is returned."""
        began = time.monotonic()
        while True:
            wrong = self.problems()
            self.recovery_s = time.monotonic() - began
            if not wrong or self.recovery_s > timeout_s:
                return wrong + self.audit_problems()
            self._stop.clear()
            self._stop.wait(0.5)

    def problems(self) -> list[str]:
        """Everything that must hold in the end and does not, yet."""
        lines = self.stack.get("/api/incidents?state=all&limit=1000")["incidents"]
        found = [self.stack.incident(line["id"]) for line in lines]
        return [
            *self._alert_problems(found),
            *self._incident_problems(found),
            *self._ticket_problems(found),
            *queue_problems(self.stack.up["stats"]),
            *self._store_problems(found),
        ]

    def _alert_problems(self, found: list[dict[str, Any]]) -> Iterator[str]:
        listed = {line["alert"]["name"] for line in self.stack.get("/api/alerts?limit=1000")["alerts"]}
        inside = Counter(alert["name"] for incident in found for alert in incident["alerts"])
        for alert in self.planned:
            if inside[alert.name] > 1:
                yield f"{alert.name} is in {inside[alert.name]} incidents"
            if not inside[alert.name] and alert.name not in listed:
                yield f"{alert.name} was accepted and is nowhere"
            if not inside[alert.name] and alert.severity < 4 and not alert.ends:
                yield f"{alert.name} still fires and is in no incident"

    def _incident_problems(self, found: list[dict[str, Any]]) -> Iterator[str]:
        for (key, generation), times in Counter((one["group_key"], one["generation"]) for one in found).items():
            if times > 1:
                yield f"group {key} has {times} incidents of generation {generation}"
        ends = {alert.service: alert.ends for alert in self.planned}
        of = Counter(one["service"] for one in found)
        for service, over in ends.items():
            if not of[service]:
                yield f"{service} has no incident"
            if not over and of[service] > 1:
                yield f"{service} never recovered and has {of[service]} incidents"
        for one in found:
            if one["service"] in ends and ends[one["service"]] != (one["state"] == "closed"):
                yield f"the incident of {one['service']} is {one['state']}"
            if not one["audit"]["verified"]:
                yield f"audit of {one['id']}: {one['audit']['problem']}"

    def _ticket_problems(self, found: list[dict[str, Any]]) -> Iterator[str]:
        tickets = get_json(self.stack.up["sandbox"] + "/api/received/servicenow?limit=10000")["tickets"]
        opened = Counter(ticket["correlation_id"] for ticket in tickets)
        for one in found:
            if opened.pop(one["id"], 0) != 1:
                yield f"the incident of {one['service']} ({one['id']}) has not exactly one ticket"
            elif one["ticket"] is None:
                yield f"the incident of {one['service']} does not know its ticket"
        for correlation in opened:
            yield f"ticket without an incident: {correlation}"
        for ticket in tickets:
            yield from repeated_notes(ticket)

    def _store_problems(self, found: list[dict[str, Any]]) -> Iterator[str]:
        store = SqliteStore(self.stack.data / "store.db")
        try:
            yield from quarantine_problems(store)
            for one in found:
                yield from left_undone(store, one["id"], one["service"])
                group = groups.state_of(store, one["group_key"])
                newest = group is not None and group.generation == one["generation"]
                if one["state"] == "closed" and group and newest and group.state is not groups.Claim.CLOSED:
                    yield f"the group of {one['service']} is {group.state}"
        finally:
            store.close()

    def audit_problems(self) -> list[str]:
        """What the command line says of the audit chains, and tracebacks that no kill explains."""
        verified = self.stack.argus("audit", "verify")
        wrong = [] if verified.returncode == 0 else [f"audit verify: {verified.stdout}{verified.stderr}"]
        logs = [*(self.stack.data / "logs").glob("*.log"), self.stack.data.parent / "up.log"]
        return wrong + [f"{log.name}: {text}" for log in logs for text in tracebacks(log)]


def main() -> int:
    """Play seeds by hand."""
    apps, seeds = 1, [int(text) for text in sys.argv[1:] if not text.startswith("--")]
    if "--three" in sys.argv:
        apps = 3
    failed = 0
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(prefix=f"storm-{seed}-"))
        began = time.monotonic()
        stack = RunningStack(folder / "data", apps).start()
        victims = random.Random(seed).choices(VICTIMS if apps == 1 else VICTIMS_OF_THREE, k=KILLS)
        storm = Storm(stack, seed, victims=victims)
        try:
            storm.rage()
            raged = time.monotonic() - began
            wrong = storm.calm(300)
        finally:
            stack.stop()
        failed += bool(wrong)
        print(f"seed {seed}: killed {victims}, storm {raged:.0f} s, calm after {storm.recovery_s:.1f} s, {folder}")
        for text in wrong:
            print("   ", text)
        sys.stdout.flush()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
