"""The storm brake at work: what a hop asks it, and the round that lets held work through (PROTOCOL, rules B1 to B3).

In: new incidents, emitted events, plans on their way to people, timer ticks. Out: rulings, released events, digests.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.agents import brake as policy
from shared.agents import conductor, notices
from shared.dispatch.beating import beats, undone
from shared.dispatch.engine import Engine
from shared.dispatch.showing import show
from shared.model.errors import ArgusError
from shared.model.event import (
    ApprovalRequested,
    Event,
    InvestigationRequested,
    NotificationRequested,
    Payload,
    TicketRequested,
    derive_id,
)
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.notice import NoticeKind
from shared.model.outcome import Go, Ruling
from shared.model.pipeline import MicroAgent, source_of
from shared.ports.store import Table
from shared.records import approvals, incidents, index, journal, letters
from shared.records import brake as rows

log = logging.getLogger("argus.dispatch")

GATHERED = timedelta(seconds=10)  # the worst of a storm is not known before most of it is there
PATIENCE = timedelta(minutes=5)  # beyond the function time-out
SEEN_EVERY = timedelta(seconds=10)
LISTED = 1000


def opened(engine: Engine, incident_id: str) -> None:
    """An incident is being created: count it, and put the brake on when they are too many.

    A brake that cannot be put on stops no incident.
    """
    limits, now = engine.ports.settings.policy.brake, engine.clock()
    store, most = engine.ports.store, limits.new_incidents_per_minute
    carrier = engine.brake.rate.opened(incident_id, now, most)
    try:
        if not carrier and engine.brake.suspects(now, most):  # others may open incidents too
            newest = index.incidents(store, most + 1)
            storm = len(newest) > most and now - newest[-1].opened_at < policy.MINUTE
            carrier = newest[0].id if storm else ""
        if not carrier:
            return
        brake = engine.brake.state(store, now)
        if brake.on and (brake.seen_at is None or now - brake.seen_at >= SEEN_EVERY):
            seen, _ = rows.change(store, lambda known: replace(known, seen_at=now) if known.on else None)
            engine.brake.learn(seen, now)
        if not policy.may_go_on(brake, limits, now):
            return
        why = f"more than {limits.new_incidents_per_minute} new incidents within a minute"
        brake, mine = rows.put_on(store, why, now, carrier=carrier)
        engine.brake.learn(brake, now)
        if mine:
            show(MicroAgent.CONDUCTOR, rows.ON, why, "")
            _tell(engine, rows.seen(store))
    except ArgusError as error:
        log.warning("the storm brake cannot be put on: %s", error)


def judging(engine: Engine, cause: Event) -> Callable[[Payload, Incident], Ruling]:
    """The policy for what the hop of an event emits, with the storm brake where it has a say (rules H5 and B1)."""

    def judge(payload: Payload, incident: Incident) -> Ruling:
        settings = engine.ports.settings
        braked = policy.Braked(cause.data, bool(settings.ticketing))
        plain = conductor.judge(payload, incident)
        if plain.go is not Go.GO or policy.judge(payload, incident, braked).go is Go.GO:
            return plain  # the brake would change nothing, so nobody asks whether it is on
        now, known = engine.clock(), engine.brake
        # A plan is judged again before people are asked, so nothing is read for it here.
        brake = known.last if isinstance(payload, ApprovalRequested) else known.state(engine.ports.store, now)
        if brake is None or not brake.on:
            return plain
        ruling = conductor.judge(payload, incident, braked)
        return replace(ruling, until=now + policy.HELD_MOST, release_by=settings.approvals.group)

    return judge


def expect(engine: Engine, incident: Incident, held: Sequence[Event]) -> None:
    """Say that an incident waits, before its held events are committed (rule B1)."""
    now = engine.clock()
    for approval in sorted({isinstance(event.data, ApprovalRequested) for event in held}):
        rows.wait(engine.ports.store, rows.waiting_of(incident, approval, now))


def admit(engine: Engine, event: Event, incident: Incident) -> Ruling:
    """Whether people may be asked now: each open approval has one of a stated number of places (rule B2)."""
    if not isinstance(event.data, ApprovalRequested):
        return conductor.GO
    request = event.data.request
    if request.plan.automatic and all(parameter.trusted for parameter in request.plan.parameters):
        return conductor.GO  # nobody is asked
    store, now, settings = engine.ports.store, engine.clock(), engine.ports.settings
    place = rows.Place(incident.id, event.id, now, request.deadline)
    released = incidents.released_from(store, event) if event.attempt else ()
    braked = engine.brake.state(store, now).on and not policy.passes(incident)
    reason = rows.STORM if braked else rows.FULL
    if any(known in released for known in rows.REASONS):  # a person has said so, and is told on the page
        most = 0
    elif braked:
        most = -1  # those that were let through have their place already
    else:
        most = settings.policy.brake.open_approvals
    if rows.take(store, request.id, place, most):
        return conductor.GO
    if most > 0 and rows.free(store, _patience(engine), now) < most and rows.take(store, request.id, place, most):
        return conductor.GO
    rows.wait(store, rows.waiting_of(incident, True, now))
    return Ruling(Go.HOLD, reason, now + policy.HELD_MOST, settings.approvals.group)


def _patience(engine: Engine) -> timedelta:
    return timedelta(seconds=engine.ports.settings.host.function_timeout_s) + PATIENCE


@beats("brake")
def work_off(engine: Engine) -> bool:
    """Let the worst of what is held through, a few at a time; say how it stands; put the brake off when it is over.

    Returns:
        Whether it is worth doing again in a few seconds: the brake is on, or somebody waits.
    """
    store, limits = engine.ports.store, engine.ports.settings.policy.brake
    seen = rows.seen(store)
    engine.brake.learn(seen.brake, engine.clock())
    if not seen.brake.noted:
        rows.note(store, engine.clock())
    if seen.brake.owed:
        _tell(engine, seen)
    failed = 0
    if seen.waiting or seen.brake.in_work:
        room = _room(engine) if seen.asking else 0
        listed = index.incidents(store, LISTED) if seen.work or room else ()
        lines = {line.id: line for line in listed}
        order = sorted(seen.waiting, key=lambda one: policy.rank(one, lines.get(one.incident_id)))
        began = seen.brake.since
        if not seen.brake.on or began is None or engine.clock() - began >= GATHERED:
            failed += _let_work(engine, seen, [one for one in order if not one.approval], lines)
        failed += _let_ask(engine, [one for one in order if one.approval], room)
        seen = rows.seen(store)
    now = engine.clock()
    if policy.over(seen.brake, seen, limits, now):
        why = f"all held work is done, and it was calm for {limits.quiet_s:g} s"
        _, mine = rows.put_off(store, why, now, still=seen.brake.episode)
        if mine:
            show(MicroAgent.CONDUCTOR, rows.OFF, why, "")
            _tell(engine, rows.seen(store))
    elif seen.brake.on:
        _tell_more(engine, seen)
    if failed:
        undone(engine, "brake", f"{failed} incident(s) could not be let through; see the log")
    return seen.brake.on or bool(seen.waiting)


def _let_work(
    engine: Engine, seen: rows.Seen, order: Sequence[rows.Waiting], lines: dict[str, index.IncidentLine]
) -> int:
    """Release tickets and investigations of the first in the queue, so many that no more than a few are in work."""
    store, now, parallel = engine.ports.store, engine.clock(), engine.ports.settings.policy.brake.parallel
    busy = [one for one in seen.brake.in_work if _busy(engine, one, now)]
    known = {one.incident_id for one in busy}
    chosen: list[tuple[rows.Waiting, list[incidents.Held]]] = []
    for one in order:
        line = lines.get(one.incident_id)
        ahead = one.incident_id in known or (line is not None and bool(line.acknowledged_by))
        if not ahead and len(busy) >= parallel:
            break
        held = [h for h in incidents.held(store, one.incident_id) if not isinstance(h.event.data, ApprovalRequested)]
        held = sorted((h for h in held if h.reason == rows.STORM), key=_first)
        if held and one.incident_id not in known:
            busy.append(rows.InWork(one.incident_id, held[-1].event.id, now))
        chosen.append((one, held))
    before = {one.incident_id for one in seen.brake.in_work}
    new = sum(one.incident_id not in before for one in busy)
    if new or len(busy) != len(seen.brake.in_work):
        # Before they go, so that a crash in between lets no more than a few through at once.
        rows.change(store, lambda brake: replace(brake, in_work=tuple(busy), let_go=brake.let_go + new))
    return sum(not _release(engine, one, held) for one, held in chosen)


def _first(held: incidents.Held) -> tuple[int, datetime, str]:
    """A ticket before what is written into it, and the investigation last: it is what takes long."""
    data = held.event.data
    turn = 0 if isinstance(data, TicketRequested) else 2 if isinstance(data, InvestigationRequested) else 1
    return turn, held.since, held.event.id


def _busy(engine: Engine, one: rows.InWork, now: datetime) -> bool:
    done = engine.ports.store.get(Table.INCIDENTS, one.incident_id, incidents.INBOX + one.event_id) is not None
    return not done and now - one.at < _patience(engine)


def _room(engine: Engine) -> int:
    """How many more approvals may be open now."""
    most = engine.ports.settings.policy.brake.open_approvals
    return max(0, most - rows.free(engine.ports.store, _patience(engine), engine.clock()))


def _let_ask(engine: Engine, order: Sequence[rows.Waiting], room: int) -> int:
    """Release plans of the first in the queue, each with a place among the open approvals."""
    store, now, failed = engine.ports.store, engine.clock(), 0
    most = engine.ports.settings.policy.brake.open_approvals
    for one in order:
        if room <= 0:
            break
        held = [h for h in incidents.held(store, one.incident_id) if h.reason in rows.REASONS]
        going: list[incidents.Held] = []
        for plan in (h for h in held if isinstance(h.event.data, ApprovalRequested)):
            assert isinstance(plan.event.data, ApprovalRequested)
            request = approvals.renewed(plan.event.data.request, now)
            place = rows.Place(one.incident_id, plan.event.id, now, request.deadline)
            if room <= 0 or not rows.take(store, request.id, place, most):
                room = 0
                break
            room -= 1
            going.append(plan)
        if going or not held:
            failed += not _release(engine, one, going, now)
    return failed


def _release(engine: Engine, one: rows.Waiting, held: Sequence[incidents.Held], now: datetime | None = None) -> bool:
    """Let held events of one incident go; what cannot be sent now is in its outbox."""
    store = engine.ports.store
    try:
        for event in held:
            going = journal.release(store, event, incidents.TIMER, now or engine.clock())
            engine.recent.forget(one.incident_id)
            if going is not None:
                letters.send(store, engine.ports.bus, going)
        rows.served(store, one)
    except ArgusError as error:
        log.warning("incident %s is let through in the next round: %s", one.incident_id, error)
        return False
    if held:
        show(MicroAgent.CONDUCTOR, f"let {len(held)} held event(s) through", "it is its turn", one.incident_id)
    return True


def _tell_more(engine: Engine, seen: rows.Seen) -> None:
    """The digest again while more incidents are held, at most so often."""
    now, every = engine.clock(), timedelta(seconds=engine.ports.settings.policy.brake.digest_every_s)
    held = seen.brake.let_go + len(seen.work)

    def more(brake: rows.Brake) -> rows.Brake | None:
        due = brake.told_at is None or now - brake.told_at >= every
        if not brake.on or brake.owed or not due or not seen.work or held <= brake.told_of:
            return None
        return replace(brake, owed="more", digests=brake.digests + 1, told_at=now, told_of=held)

    brake, mine = rows.change(engine.ports.store, more)
    if mine:
        _tell(engine, replace(seen, brake=brake))


def _tell(engine: Engine, seen: rows.Seen) -> None:
    """Send the digest that is owed; its ids make a second sender harmless (rule B3)."""
    brake, ports, now = seen.brake, engine.ports, engine.clock()
    lines = index.incidents(ports.store, LISTED)
    carrier = brake.carrier or next((line.id for line in lines if line.state is not State.CLOSED), "")
    if not brake.owed or (not carrier and brake.owed != "off"):
        return  # nobody has an incident yet that could carry it, and nobody is hurt
    limits, base = ports.settings.policy.brake, ports.settings.portal.base_url
    notice = policy.digest(brake, seen, lines, limits, base)
    for channel in notices.channels_for(NoticeKind.STORM, ports.settings) if carrier else ():
        identity = derive_id("storm brake", brake.episode, str(brake.digests), channel)
        said = Event(identity, source_of(MicroAgent.CONDUCTOR), carrier, now, NotificationRequested(channel, notice))
        letters.send(ports.store, ports.bus, said)

    def told(known: rows.Brake) -> rows.Brake | None:
        same = (known.episode, known.digests) == (brake.episode, brake.digests)
        return replace(known, owed="", carrier=carrier) if same else None

    engine.brake.learn(rows.change(ports.store, told)[0], now)
