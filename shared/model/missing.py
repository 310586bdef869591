"""What an incident lacks while a part of the outside is away, and how it is said.

In: far sides that fail and recover. Out: a short list that incidents carry, pages show and cards repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

MAX_WHY_CHARS = 200


class PartKind(StrEnum):
    """What kind of part is away."""

    CHANNEL = "channel"
    TICKETS = "ticket system"
    DESTINATION = "destination"
    EVIDENCE = "evidence source"
    WAITS = "approvals"
    TARGET = "target"


_WAITS_FOR = {
    PartKind.CHANNEL: ("card waits", "cards wait"),
    PartKind.TICKETS: ("ticket change waits", "ticket changes wait"),
    PartKind.DESTINATION: ("publication waits", "publications wait"),
    PartKind.WAITS: ("step of an approval waits", "steps of approvals wait"),
    PartKind.TARGET: ("step waits", "steps wait"),
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that an incident could not reach, and what waits for it.

    Attributes:
        name: configured name of the part.
        why: what the last failure was, without any secret.
        waiting: ids of the events that are tried again.
        given_up: ids of the events that went to quarantine.
        diverted: ids of the cards that another channel was given meanwhile.
        next_at: when it is asked again; for evidence sources only.
        says: all of that in one sentence.
    """

    kind: PartKind
    name: str
    since: datetime
    why: str
    waiting: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    diverted: tuple[str, ...] = ()
    next_at: datetime | None = None
    says: str = ""

    @property
    def part(self) -> str:
        """Kind and name; the same for every incident that lacks it."""
        return f"{self.kind} {self.name}"


def wait(
    known: Sequence[Missing], kind: PartKind, name: str, event_id: str, why: str, since: datetime
) -> tuple[Missing, ...]:
    """The list once an event waits for a part; the same list when it is in it already."""
    found = _of(known, kind, name) or Missing(kind, name, since, why)
    if event_id in found.waiting:
        return tuple(known)
    waits = replace(found, waiting=(*found.waiting, event_id), why=_short(why))
    return _with(known, replace(waits, given_up=tuple(i for i in found.given_up if i != event_id)))


def give_up(
    known: Sequence[Missing], kind: PartKind, name: str, event_id: str, why: str, since: datetime
) -> tuple[Missing, ...]:
    """The list once an event went to quarantine."""
    found = _of(known, kind, name) or Missing(kind, name, since, why)
    waiting = tuple(i for i in found.waiting if i != event_id)
    given_up = tuple(dict.fromkeys((*found.given_up, event_id)))
    return _with(known, replace(found, waiting=waiting, given_up=given_up, why=_short(why)))


def divert(known: Sequence[Missing], name: str, event_id: str) -> tuple[Missing, ...]:
    """The list once another channel was given a card."""
    found = _of(known, PartKind.CHANNEL, name)
    return tuple(known) if found is None else _with(known, replace(found, diverted=(*found.diverted, event_id)))


def relieve(known: Sequence[Missing], event_id: str) -> tuple[Missing, ...]:
    """The list once an event has been worked off; a part nothing waits for is no longer missing."""
    left: list[Missing] = []
    for missing in known:
        if event_id not in (*missing.waiting, *missing.given_up):
            left.append(missing)
            continue
        waiting = tuple(i for i in missing.waiting if i != event_id)
        given_up = tuple(i for i in missing.given_up if i != event_id)
        if waiting or given_up:
            left.append(told(replace(missing, waiting=waiting, given_up=given_up)))
    return tuple(left)


def waits_for(known: Sequence[Missing], event_id: str) -> Missing | None:
    """The part an event waits, or waited, for."""
    return next((m for m in known if event_id in (*m.waiting, *m.given_up)), None)


def evidence(known: Sequence[Missing], asked: Sequence[Missing]) -> tuple[Missing, ...]:
    """The list once evidence sources were asked: those that gave no answer, instead of those that gave none before."""
    return (*(m for m in known if m.kind is not PartKind.EVIDENCE), *(told(m) for m in asked))


def told(missing: Missing) -> Missing:
    """The same, with its sentence."""
    name, since = missing.name, f"{missing.since:%d %b %H:%M} UTC"
    parts = [f"{name} cannot be reached since {since}"]
    if missing.kind is PartKind.EVIDENCE:
        parts.append("the cause was looked for without it")
    if missing.waiting:
        one, many = _WAITS_FOR[missing.kind]
        parts.append(f"{len(missing.waiting)} {one if len(missing.waiting) == 1 else many}")
    if missing.given_up and not missing.waiting:
        parts = [f"{name} did not take something since {since}"]
    if missing.given_up:
        parts.append(f"{len(missing.given_up)} given up and in quarantine")
    return replace(missing, says=f"{'; '.join(parts)} ({missing.why})")


def _of(known: Sequence[Missing], kind: PartKind, name: str) -> Missing | None:
    return next((m for m in known if (m.kind, m.name) == (kind, name)), None)


def _with(known: Sequence[Missing], changed: Missing) -> tuple[Missing, ...]:
    told_now = told(changed)
    if _of(known, changed.kind, changed.name) is None:
        return (*known, told_now)
    return tuple(told_now if (m.kind, m.name) == (changed.kind, changed.name) else m for m in known)


def _short(why: str) -> str:
    return why if len(why) <= MAX_WHY_CHARS else why[: MAX_WHY_CHARS - 1] + "…"
