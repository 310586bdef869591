"""The demo: one real incident through the whole loop, and what happens shown live.

In: nothing. Out: a line per hop, a summary, and `summary.json`.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from local.demo.operator import Person, azure_alert, deploy_release, get_json, send_alert
from local.stack.places import StackError
from local.stack.stack import Stack

T = TypeVar("T")
CALM_S = 20.0
OPERATOR = "olga"
INCIDENT_TIMEOUT_S = 45.0
APPROVAL_TIMEOUT_S = 45.0
PERSON_TIMEOUT_S = 900.0
CLOSE_TIMEOUT_S = 90.0
PUBLISH_TIMEOUT_S = 30.0
_DIM, _BOLD, _GREEN, _OFF = ("\033[2m", "\033[1m", "\033[32m", "\033[0m")


@dataclass(slots=True)
class Screen:
    """Prints hops as they are logged, and counts them."""

    hops_file: Path
    colour: bool
    hops: Counter[str] = field(default_factory=Counter)
    _read: int = 0

    def show(self) -> None:
        """Print what was logged since the last call."""
        for hop in self._new():
            agent = str(hop["micro_agent"])
            self.hops[agent] += 1
            moment = datetime.fromisoformat(str(hop["time"])).astimezone().strftime("%H:%M:%S")
            why = f"{_DIM if self.colour else ''}{hop.get('reason', '')}{_OFF if self.colour else ''}"
            print(f"{moment}  {agent:<16} {str(hop['what'])[:70]:<70}  {why}"[:400], flush=True)

    def say(self, text: str) -> None:
        """Print what the demo itself does."""
        print(f"{_BOLD if self.colour else ''}-- {text}{_OFF if self.colour else ''}", flush=True)

    def _new(self) -> Iterator[dict[str, Any]]:
        if not self.hops_file.exists():
            return
        with self.hops_file.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield json.loads(line)


def demo(data: Path, wait: bool, keep: bool, store: str = "sqlite") -> int:
    """Play the story.

    Args:
        data: folder of this demo's own stack; it is emptied first.
        wait: leave the approval to the person at the keyboard.
        keep: leave the stack running until Ctrl-C.
        store: ``sqlite``, or ``tables`` for Azurite.

    Raises:
        StackError: something did not happen in time; the message says what and where to look.
    """
    began = time.monotonic()
    _empty(data)
    stack = Stack(data, usual=False, load_rps=20, store=store)
    screen = Screen(stack.places.hops, sys.stdout.isatty())
    far = ", Azurite" if store == "tables" else ""
    screen.say(f"starting broker, sandbox, shop{far} and host")
    stack.up()
    try:
        incident = _story(stack, screen, wait)
        summary = _summary(stack, screen, incident, time.monotonic() - began)
        (data / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        _print_summary(stack, screen, summary, data, keep)
        if keep:
            screen.say("the stack keeps running; Ctrl-C stops it")
            _until_interrupted(stack)
        return 0 if summary["state"] == "closed" and summary["audit_verified"] else 1
    except KeyboardInterrupt:
        print("\nstopped", flush=True)
        return 1
    finally:
        stack.down()


def _empty(data: Path) -> None:
    """Begin afresh, but never under a demo that is running."""
    if (data / "lock").exists():
        probe = Stack(data)
        probe._take_lock()
        probe.down()
    shutil.rmtree(data, ignore_errors=True)


def _story(stack: Stack, screen: Screen, wait: bool) -> dict[str, Any]:
    http, shop, secrets = stack.url("http"), stack.url("shop"), stack.secrets
    screen.say(f"portal {http}/   sandbox {stack.url('sandbox')}/   shop {shop}/")
    screen.say(f"{CALM_S:.0f} s of calm give the baseline")
    _show_for(stack, screen, CALM_S)
    screen.say("release 2.4.1 is deployed to the shop; it is a bad one")
    deploy_release(shop, secrets["ARGUS_SHOP_DEPLOY_SECRET"], "2.4.1", "demo-release-2.4.1")
    _show_for(stack, screen, 3)
    screen.say("Azure Monitor sends its alert")
    send_alert(http, secrets["ARGUS_KEY_AZURE_MONITOR"], azure_alert(datetime.now(UTC).replace(microsecond=0)))
    line = _until(stack, screen, "an incident", INCIDENT_TIMEOUT_S, lambda: _first_incident(http))
    screen.say(f"incident {line['id'][:8]}: {http}/incidents/{line['id']}")

    def approval() -> str:
        found = get_json(f"{http}/api/incidents/{line['id']}")["approval"]
        return found["id"] if found else ""

    asked = _until(stack, screen, "the question to people", APPROVAL_TIMEOUT_S, approval)
    if wait:
        screen.say(f"your turn: open {http}/approvals/{asked}, sign in as {OPERATOR}, and decide")
    else:
        screen.say(f"{OPERATOR} signs in, reads {http}/approvals/{asked} and approves")
        person = Person(http)
        person.sign_in(OPERATOR)
        person.approve(asked, "The release fits the errors; roll it back.")

    def closed() -> dict[str, Any] | None:
        found = get_json(f"{http}/api/incidents/{line['id']}")
        return found if found["state"] == "closed" else None

    _until(stack, screen, "the end", PERSON_TIMEOUT_S if wait else CLOSE_TIMEOUT_S, closed)

    def published() -> dict[str, Any] | None:
        found: dict[str, Any] = get_json(f"{http}/api/incidents/{line['id']}")
        return found if found["documents"] else None

    full = _until(stack, screen, "the documents", PUBLISH_TIMEOUT_S, published)
    _show_for(stack, screen, 1.5)
    return full


def _first_incident(http: str) -> dict[str, Any] | None:
    lines = get_json(f"{http}/api/incidents?state=all")["incidents"]
    return lines[0] if lines else None


def _until(stack: Stack, screen: Screen, what: str, timeout_s: float, look: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        _tick(stack, screen)
        try:
            found = look()
        except OSError:  # the host is between two lives; the next tick starts it again
            continue
        if found:
            screen.show()
            return found
    raise StackError(f"waited {timeout_s:.0f} s for {what}; the logs are in {stack.places.logs}")


def _show_for(stack: Stack, screen: Screen, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        _tick(stack, screen)


def _tick(stack: Stack, screen: Screen) -> None:
    screen.show()
    dead = stack.ended()
    if dead is not None:
        screen.say(f"{dead.name} ended (code {dead.process.returncode}); it is started again and goes on where it was")
        stack.revive(dead)
    time.sleep(0.2)


def _until_interrupted(stack: Stack) -> None:
    try:
        while stack.ended() is None:
            time.sleep(0.3)
    except KeyboardInterrupt:
        return


def _summary(stack: Stack, screen: Screen, full: dict[str, Any], seconds: float) -> dict[str, Any]:
    screen.show()
    return {
        "incident": full["id"],
        "state": full["state"],
        "agents": dict(sorted(screen.hops.items())),
        "approvals": len([approval for approval in full["approvals"] if _approved(approval)]),
        "actions": len([action for action in full["actions"] if action["state"] == "done"]),
        "ticket": (full["ticket"] or {}).get("number", ""),
        "documents": [document["url"] for document in full["documents"]],
        "audit_verified": bool(full["audit"]["verified"]),
        "seconds": round(seconds, 1),
    }


def _approved(approval: dict[str, Any]) -> bool:
    return bool(approval["decision"]) and approval["decision"]["verdict"] == "approved"


def _print_summary(stack: Stack, screen: Screen, summary: dict[str, Any], data: Path, keep: bool) -> None:
    screen.say("summary")
    print(f"   incident   {summary['incident']}  {summary['state']}")
    print(f"   agents     {', '.join(f'{name} {count}' for name, count in summary['agents'].items())}")
    print(f"   approvals  {summary['approvals']}   actions {summary['actions']}   ticket {summary['ticket']}")
    for url in summary["documents"]:
        print(f"   document   {url}")
    print(f"   audit      {'verified' if summary['audit_verified'] else 'NOT VERIFIED'}")
    print(f"   took       {summary['seconds']:.0f} s   (written to {data / 'summary.json'})")
    after = "" if keep else "  (ends with the demo; `make demo ARGS=--keep` keeps it, `make up` starts one that stays)"
    print(f"   portal     {stack.url('http')}/{after}")
