"""Writes down how this version of the code keeps rows and sends messages, for the tests of the versions after it.

In: a number and a folder: ``python -m tests.model.take_version 2``. Out: ``tests/golden/versions/2/`` with every row of
a store in which everything has happened once, and one message of every type. Run it before `versions.CURRENT` grows.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.event import (
    ApprovalDecided,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentRequested,
    InvestigationRequested,
    Payload,
    TicketUpdateRequested,
    UpdateKind,
)
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.ports.bus import Message
from shared.ports.store import Store, Table, Value
from shared.records import incidents, journal, payloads, quarantine, redaction
from tests.pipeline.world import World, settings

FOLDER = Path(__file__).parents[1] / "golden" / "versions"
RULE = {"kind": "threshold", "metric": "latency_ms", "service": "shop", "above": 500, "summary": "slow"}


def live(store: Store) -> World:
    """Everything that leaves a row, once: a whole incident, one that waits for a person, and what went wrong."""
    world = World(store, settings(rules={"slow": RULE}))
    reference = payloads.put(store, "receipt-1", redaction.redact(b'{"alert": "HighErrorRatio"}'), world.now)
    world.measures("latency_ms", 120.0)
    world.fires(payload=reference)
    world.settle()
    world.vote()
    world.settle()
    world.resolves()
    world.settle()
    world.pass_time(timedelta(minutes=3))
    began = world.now
    for _ in range(2):
        again = [world.signal("HighErrorRatio", starts_at=began, at=world.now) for _ in range(3)]
        world.deliver(*again)  # the first is sent, its repeats are counted
        world.settle()
    world.engine.memory.flush(world.store, world.now, True)
    second, waiting = world.ids()[-1], world.incident().approval
    assert waiting is not None
    world.say(ApprovalDecided(waiting.id), world.incident().id)
    world.say(IncidentAcknowledged("olga"), second)
    world.say(IncidentAssigned("olga", "sam"), second)
    world.say(IncidentRequested("sam", "Nobody can pay", "shop", Severity.SEV3), "5b0e0000-0000-5000-8000-000000000001")
    world.settle()
    world.configure(policy={"hold": ["ticket_updater"], "hold_s": 3600})
    for text in ("released", "held"):
        world.say(TicketUpdateRequested(UpdateKind.NOTE, text), second)
        world.settle()
        if text == "released":
            [kept] = incidents.held(store, second)
            journal.release(store, kept, "olga", world.now)
    world.bus.put(Queue.TICKETS, Message("garbage.0", b"not JSON", ""))
    quarantine.strike(store, "0d0e0000-0000-5000-8000-000000000001", world.now)
    world.settle()
    return world


def waiting(store: Store) -> World:
    """An incident that waits for a person, with an event that was committed and never sent."""
    world = World(store, settings(rules={"slow": RULE}))
    world.fires()
    world.settle()
    world.bus.down = True
    world.say(InvestigationRequested(), world.ids()[0])
    world._work_once()
    return world


def rows(store: Store) -> Iterator[dict[str, Any]]:
    """Every row as JSON, in order."""
    for table in Table:
        for partition in store.partitions(table):
            for row in incidents.rows(store, partition, "", table):
                values = {name: _tagged(value) for name, value in sorted(row.values.items())}
                yield {"table": str(table), "partition": partition, "key": row.key, "values": values}


def messages(world: World) -> dict[str, bytes]:
    """One message of every type, and one that carries a reference."""
    found = {}
    for _, message in world.bus.sent:
        try:
            event = codec.decode_event(message.body)
        except codec.PermanentError:
            continue
        found.setdefault(event.type, message.body)
        found["reference"] = codec.encode_reference(event, "20261120-01/event-1")
    missing = {kind.TYPE for kind in get_args(Payload)} - set(found)
    assert not missing, f"the scenario sends no {', '.join(sorted(missing))}"
    return found


def read_value(tagged: Any) -> Value:
    """A value as `rows` wrote it."""
    if isinstance(tagged, dict):
        return base64.b64decode(tagged["bytes"]) if "bytes" in tagged else datetime.fromisoformat(tagged["time"])
    assert isinstance(tagged, str | int | float)
    return tagged


def _tagged(value: Value) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"time": value.astimezone(UTC).isoformat()} if isinstance(value, datetime) else value


def main(version: int, folder: Path) -> None:
    """Write the fixtures of one version."""
    folder = folder / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    for name, play in (("waiting", waiting), ("rows", live)):
        with tempfile.TemporaryDirectory() as place:
            store = SqliteStore(Path(place) / "store.db")
            world = play(store)
            lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows(store)]
            store.close()
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sent = [
        json.dumps({"name": name, "body": body.decode()}, ensure_ascii=False)
        for name, body in sorted(messages(world).items())
    ]
    (folder / "messages.jsonl").write_text("\n".join(sent) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else FOLDER)
