"""Compares what became of the storm with the undisturbed run of the same seed.

In: outcomes, kills, far sides' records. Out: what was lost and what happened twice, one sentence each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.aftermath import left_undone, quarantine_problems, queue_problems
from benchmarks.crash.killer import Kill
from benchmarks.crash.ledger import FarSides, Outcome, far_sides, markers, outcome
from benchmarks.crash.scripts import Performance, Play
from benchmarks.crash.stage import incident_id_of, key_of
from benchmarks.crash.town import Town
from benchmarks.crash.trail import Trail
from shared.model.pipeline import Queue
from shared.portal import read_model
from shared.ports.store import Store, Table
from shared.records import groups, incidents

ITSELF = "argus"


@dataclass(slots=True)
class Verdict:
    """What is wrong.

    Attributes:
        lost: something that should have happened and did not, or is not whole.
        doubled: something that happened more often than it may.
        repeats: cards that came again and said so, each for a kill that hit it in flight.
        own: incidents that ARGUS opened about itself, as what it needs was away; nobody has planned these.
        notes: what is odd without being a loss, such as tracebacks.
        rewritten: reviews whose one page was written again, because more had happened by then.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    repeats: int = 0
    rewritten: int = 0
    own: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing is."""
        return not self.lost and not self.doubled


def judge(
    town: Town,
    store: Store,
    trail: Trail,
    played: Sequence[Performance],
    undisturbed: Mapping[int, Outcome],
    kills: Sequence[Kill],
    settled: bool = True,
) -> Verdict:
    """Compare every performance with that of its script in calm.

    Args:
        played: all performances, those in calm as well.
        undisturbed: outcomes by the number of the script.
        settled: every group is free; else what happens to groups at the end is not compared.
    """
    verdict, far = Verdict(), far_sides(town)
    in_flight = _notices_hit(kills)
    for performance in played:
        found, expected = outcome(performance, store, far), undisturbed[performance.script.number]
        _compare(performance, found, expected, in_flight, verdict, () if settled else ("group",))
        if performance.script.play is Play.QUIET:
            continue
        identity = incident_id_of(performance)
        verdict.lost += left_undone(store, identity, str(performance), settled)
    _once(played, store, far, verdict)
    # The far side recognises a repeat and hides it; our own notes do not.
    verdict.doubled += [
        f"action {key} was carried out {times} times" for key, times in trail.executed().items() if times > 1
    ]
    verdict.lost += _whole(town, store)
    _listed(store, played, verdict)
    return verdict


def _notices_hit(kills: Sequence[Kill]) -> Counter[str]:
    """How many kills hit a notice in flight, by incident."""
    hit: Counter[str] = Counter()
    for kill in kills:
        hit.update({message.incident for message in kill.interrupted if message.queue == Queue.NOTIFICATIONS})
    return hit


def _compare(
    performance: Performance,
    found: Outcome,
    expected: Outcome,
    in_flight: Counter[str],
    verdict: Verdict,
    but: Sequence[str] = (),
) -> None:
    for name, value in expected.facts.items():
        is_now = found.facts.get(name)
        if is_now != value and name not in but:
            more = name in ("tickets", "executions", "actions", "documents", "pages") and _size(is_now) > _size(value)
            sentence = f"{performance}: {name} is {is_now!r}, undisturbed it was {value!r}"
            (verdict.doubled if more else verdict.lost).append(sentence)
    for note in expected.notes.keys() | found.notes.keys():
        missing = expected.notes[note] - found.notes[note]
        if missing:
            sentence = f"{performance}: the note {note!r} is there {found.notes[note]} times instead of "
            (verdict.lost if missing > 0 else verdict.doubled).append(sentence + str(expected.notes[note]))
    allowed = in_flight[incident_id_of(performance)]
    for card in expected.cards.keys() | found.cards.keys():
        came, due, marked = found.cards[card], expected.cards[card], found.marked[card]
        if came < due:
            verdict.lost.append(f"{performance}: the card {card!r} came {came} times instead of {due}")
        if came - marked > due or came - due > min(marked, allowed):
            said = f"{marked} of them as possible repeats, {allowed} kills in flight"
            verdict.doubled.append(f"{performance}: the card {card!r} came {came} times instead of {due}, {said}")
        elif came > due:
            verdict.repeats += came - due


def _size(value: object) -> int:
    if isinstance(value, list):
        return sum(item if isinstance(item, int) else 1 for item in value)
    return value if isinstance(value, int) else 0


def _once(played: Sequence[Performance], store: Store, far: FarSides, verdict: Verdict) -> None:
    """What must be there once whatever the script."""
    known = {incident_id_of(performance) for performance in played}
    for correlation, tickets in far.tickets.items():
        for ticket in tickets:
            verdict.doubled += [
                f"ticket {ticket['number']} has the note {marker} {times} times"
                for marker, times in markers(ticket).items()
                if times > 1
            ]
        if len(tickets) > 1 and correlation in known:
            verdict.doubled.append(f"incident {correlation} has {len(tickets)} tickets")
    verdict.doubled += [f"document {name} has {times} pages" for name, times in far.pages.items() if times > 1]
    verdict.lost += [f"the page {name}" for name in far.pages if name.startswith("(unfinished)")]
    verdict.rewritten = sum(1 for name, times in far.versions.items() if name.startswith("review-") and times > 1)
    verdict.doubled += [f"{key} was carried out {times} times" for key, times in far.depot.items() if times > 1]
    for incident, cards in far.cards.items():
        plain = Counter(card.whole for card in cards if not card.repeat)
        verdict.doubled += [
            f"a card of incident {incident} came {times} times and does not say so"
            for times in plain.values()
            if times > 1
        ]
    for service in {performance.service for performance in played}:
        group = groups.state_of(store, key_of(service))
        newest = max(performance.generation for performance in played if performance.service == service)
        if group is not None and group.generation > newest:
            verdict.doubled.append(f"{service} has had {group.generation} incidents instead of {newest}")


def _whole(town: Town, store: Store) -> Iterator[str]:
    """Queues, quarantine and audit chains."""
    yield from queue_problems(town.url("stats"))
    yield from quarantine_problems(store)
    verified = town.argus("audit", "verify")
    if verified.returncode != 0:
        yield f"audit verify: {verified.stdout}{verified.stderr}"


def _listed(store: Store, played: Sequence[Performance], verdict: Verdict) -> None:
    """Alerts that open nothing are listed, and nothing else has opened an incident."""
    listed = {line.alert.service for line in read_model.alert_list(store, read_model.LISTED).alerts}
    opens = {incident_id_of(one) for one in played if one.script.play is not Play.QUIET}
    verdict.lost += [
        f"{one} was accepted and is listed nowhere"
        for one in played
        if one.script.play is Play.QUIET and one.service not in listed
    ]
    for name in sorted(set(store.partitions(Table.INCIDENTS)) - opens):
        loaded = incidents.load(store, name)
        if loaded is not None and loaded.incident.service == ITSELF:
            verdict.own += 1
        elif loaded is not None:
            verdict.doubled.append(f"incident {name} belongs to nothing that was played")
