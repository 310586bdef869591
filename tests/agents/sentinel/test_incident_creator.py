"""Incident creator: what an incident is made of, and what alerts and people change in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.agents.sentinel import incident_creator
from shared.model import event as ev
from shared.model.alert import Alert
from shared.model.errors import PermanentError
from shared.model.event import ClosingKind, GroupChanged, GroupChangeKind, UpdateKind
from shared.model.incident import MAX_ALERTS_HELD, Incident
from shared.model.lifecycle import State
from shared.model.outcome import Outcome
from shared.model.pipeline import MicroAgent
from shared.model.signal import Severity, Status
from shared.records import groups, incidents, journal
from shared.records.rows import pack
from tests.agents.cases import NOW, T0, alert, apply, event, incident
from tests.fakes import ports, settings

KEY = "service=shop|environment=production"
CHOSEN = settings(channels={"chat": {}}, notify={"channels": ["chat"]}, ticketing={"desk": {}})


def change(of: Alert, kind: GroupChangeKind = GroupChangeKind.JOIN) -> GroupChanged:
    return GroupChanged(kind, KEY, 1, of)


def later(of: Alert, seconds: float = 60, **changes: object) -> Alert:
    """The same alert in a later state of its own clock."""
    return replace(of, at=of.at + timedelta(seconds=seconds), signal_id=f"{of.signal_id}-{seconds}", **changes)  # type: ignore[arg-type]


def create(store: SqliteStore, data: ev.Payload) -> tuple[Incident, Outcome]:
    return incident_creator.create(event(incident(), data), NOW, ports(store, CHOSEN))


def handle(store: SqliteStore, data: ev.Payload, to: Incident) -> tuple[Incident, Outcome]:
    outcome = incident_creator.handle(event(to, data), to, NOW, ports(store, CHOSEN))
    return journal.apply(to, outcome.changes), outcome


TITLE = "HighErrorRatio on shop: Too many requests fail"


def emitted(outcome: Outcome) -> list[str]:
    return [emit.data.TYPE.removeprefix("argus.").removesuffix(".v1") for emit in outcome.events]


def test_S3_an_alert_becomes_an_incident_and_everything_that_follows(store: SqliteStore) -> None:
    made, outcome = create(store, change(alert(summary="Too many requests fail"), GroupChangeKind.OPEN))
    assert (made.title, made.service, made.severity) == (TITLE, "shop", Severity.SEV2)
    assert (made.group_key, made.generation, made.alert_count, made.state) == (KEY, 1, 1, State.OPEN)
    assert emitted(outcome) == ["notification.requested", "ticket.requested", "investigation.requested"]


def test_a_rule_of_our_own_speaks_for_itself(store: SqliteStore) -> None:
    made, _ = create(store, change(alert(summary="The shop is slow", rule="slow"), GroupChangeKind.OPEN))
    assert made.title == "The shop is slow"


@pytest.mark.parametrize(
    ("summary", "name", "title"),
    [
        pytest.param("Checkout fails", "HighErrors", "HighErrors on shop: Checkout fails", id="name-and-summary"),
        pytest.param("HighErrors: 9 %", "HighErrors", "HighErrors: 9 %", id="the-summary-has-the-name"),
        pytest.param("y" * 150, "HighErrors", "y" * 150, id="no-room-for-both"),
        pytest.param("", "HighErrors", "HighErrors on shop", id="name-and-service"),
        pytest.param("", "shop is down", "shop is down", id="the-name-has-the-service"),
        pytest.param("x" * 161, "HighErrors", "HighErrors on shop", id="a-summary-too-long"),
        pytest.param("", "n" * 200, f"{'n' * 160}", id="cut-once"),
    ],
)
def test_the_title_is_what_people_say(store: SqliteStore, summary: str, name: str, title: str) -> None:
    made, _ = create(store, change(alert(name, summary=summary), GroupChangeKind.OPEN))
    assert made.title == title


def test_a_person_opens_an_incident_by_hand(store: SqliteStore) -> None:
    data = ev.IncidentRequested("olga", "Checkout is slow", "shop", Severity.SEV3, "customers call")
    made, outcome = create(store, data)
    assert (made.title, made.environment, made.source) == ("Checkout is slow", "production", "person:olga")
    assert (made.group_key, made.alerts) == ("", ())
    assert outcome.person == "olga"
    _, again = handle(store, data, made)
    assert (again.what, again.changes, again.events) == ("already open", (), ())


@pytest.mark.parametrize("data", [ev.InvestigationRequested(), ev.IncidentAcknowledged("olga")])
def test_nothing_else_opens_an_incident(store: SqliteStore, data: ev.Payload) -> None:
    with pytest.raises(PermanentError):
        create(store, data)


def test_a_new_alert_joins(store: SqliteStore) -> None:
    after, outcome = handle(store, change(alert("Latency", severity=Severity.SEV1)), incident())
    assert [a.name for a in after.alerts] == ["HighErrorRatio", "Latency"]
    assert (after.alert_count, after.severity) == (2, Severity.SEV1)
    assert outcome.what == "Latency joined"


def test_a_milder_alert_does_not_lower_the_severity(store: SqliteStore) -> None:
    after, _ = handle(store, change(alert("Latency", severity=Severity.SEV3)), incident())
    assert after.severity is Severity.SEV2


def test_S7_the_newest_state_of_an_alert_stands_and_is_counted_once(store: SqliteStore) -> None:
    first = alert()
    resolved = later(first, status=Status.RESOLVED)
    after, outcome = handle(store, change(resolved), incident())
    assert [(a.name, a.status) for a in after.alerts] == [("HighErrorRatio", Status.RESOLVED)]
    assert after.alert_count == 1
    older, outcome = handle(store, change(later(first, 30)), after)
    assert older.alerts == after.alerts
    assert outcome.what == "HighErrorRatio: an older state"


def test_S8_a_resolve_asks_for_closing(store: SqliteStore) -> None:
    _, outcome = handle(store, change(later(alert(), status=Status.RESOLVED)), incident())
    [emit] = outcome.events
    assert emit.data == ev.ClosingRequested(ClosingKind.RESOLVED_AT_SOURCE)
    assert outcome.reason == "it was the last one firing"


def test_S8_what_the_group_knows_beyond_the_incident_still_fires(store: SqliteStore) -> None:
    """An incident holds some alerts whole and has heard of the others; its group has them all."""
    held = groups.GroupState(KEY, groups.Claim.OPEN, 1, incident().id, "{}", alert(), T0)
    groups.claim(store, held, None)
    states = {of.fingerprint: groups.member_of(of, 1, NOW) for of in (alert("HighErrorRatio"), alert("Forgotten"))}
    assert groups.put_members(store, KEY, groups.load(store, KEY), states, NOW)
    after, outcome = handle(store, change(later(alert(), status=Status.RESOLVED)), incident(group_key=KEY))
    assert outcome.reason == "it was the last one firing"
    assert incidents.still_firing(after, groups.unresolved(store, KEY)) == ("Forgotten",)


def test_S5_S7_an_incident_that_holds_few_alerts_whole_knows_them_all(store: SqliteStore) -> None:
    """Counts, repeats of a message and what still fires do not depend on how many alerts the row holds."""
    many = tuple(alert(f"a{i}") for i in range(60))
    after, outcome = handle(store, GroupChanged(GroupChangeKind.JOIN, KEY, 1, many[0], many[1:]), incident())
    assert outcome.what == "60 alerts (a0, a1, a2, a3, a4, and more) joined"
    assert (after.alert_count, len(after.alerts)) == (61, MAX_ALERTS_HELD)
    again, _ = handle(store, GroupChanged(GroupChangeKind.JOIN, KEY, 1, many[7], many[3:5]), after)
    assert again == after
    assert incident_creator.known(GroupChanged(GroupChangeKind.JOIN, KEY, 1, many[59], many[:59]), after)
    assert len(incidents.still_firing(after, ())) == 61
    before = T0 - timedelta(seconds=60)
    older = tuple(later(one, -30, status=Status.RESOLVED, starts_at=before) for one in many)
    assert handle(store, GroupChanged(GroupChangeKind.JOIN, KEY, 1, older[0], older[1:]), after)[0] == after
    over = tuple(later(one, status=Status.RESOLVED) for one in many)
    ended, outcome = handle(store, GroupChanged(GroupChangeKind.JOIN, KEY, 1, over[0], over[1:]), after)
    assert incidents.still_firing(ended, ()) == ("HighErrorRatio",)
    assert outcome.reason == "1 more still firing"
    assert emitted(outcome) == ["closing.requested"]


def test_a_resolve_of_a_closed_incident_is_noted_only(store: SqliteStore) -> None:
    over = incident(state=State.CLOSED)
    after, outcome = handle(store, change(later(alert(), status=Status.RESOLVED)), over)
    assert after.alerts[0].status is Status.RESOLVED
    assert outcome.events == ()


def test_C2_a_firing_of_a_closed_incident_goes_back_as_it_was(store: SqliteStore) -> None:
    back = alert("Latency", value=7.5, unit="s", labels={"a": "b"}, link="https://x.example", count=3)
    over = incident(state=State.CLOSED)
    after, outcome = handle(store, change(back), over)
    assert after == over
    [emit] = outcome.events
    assert isinstance(emit.data, ev.SignalsReceived)
    [signal] = emit.data.signals
    assert (signal.id, signal.fingerprint, signal.starts_at) == (back.signal_id, back.fingerprint, back.starts_at)
    assert (signal.value, signal.unit, signal.labels, signal.count) == (7.5, "s", {"a": "b"}, 3)


def test_C2_a_firing_into_resolved_reopens_and_is_investigated(store: SqliteStore) -> None:
    resolved = incident(state=State.RESOLVED, resolved_at=NOW)
    after, outcome = handle(store, change(later(alert(), 90, starts_at=T0 + timedelta(seconds=90))), resolved)
    assert (after.state, after.resolved_at) == (State.INVESTIGATING, None)
    assert emitted(outcome) == ["notification.requested", "ticket.update_requested", "investigation.requested"]
    kinds = [e.data.kind for e in outcome.events if isinstance(e.data, ev.TicketUpdateRequested)]
    assert kinds == [UpdateKind.REOPEN]


def test_the_first_acknowledgement_stands(store: SqliteStore) -> None:
    first, outcome = handle(store, ev.IncidentAcknowledged("olga"), incident())
    assert (first.acknowledged_by, first.acknowledged_at, outcome.person) == ("olga", NOW, "olga")
    second, outcome = handle(store, ev.IncidentAcknowledged("sam"), first)
    assert second == first
    assert outcome.reason == "olga was first"


def test_the_last_assignment_stands(store: SqliteStore) -> None:
    first, _ = handle(store, ev.IncidentAssigned("olga", "sam"), incident())
    second, outcome = handle(store, ev.IncidentAssigned("sam", "vera"), first)
    assert (second.assignee, outcome.person) == ("vera", "sam")


def test_what_an_incident_cannot_take_in_is_permanent(store: SqliteStore) -> None:
    with pytest.raises(PermanentError):
        handle(store, ev.DiagnosisMade(1), incident())


@pytest.mark.parametrize("size", [10, 4000])
def test_H5_a_storm_of_alerts_fits_the_row_and_the_newest_are_kept(store: SqliteStore, size: int) -> None:
    """The row has a limit; an incident that cannot be committed any more is worse than one that shows fewer alerts."""
    many = tuple(alert(f"a{i}", description="d" * size, labels={"l": "l" * size}) for i in range(300))
    entry = journal.write(
        replace(incident(), alerts=many),
        event(incident(), ev.IncidentAcknowledged("olga")),
        [(MicroAgent.INCIDENT_CREATOR, Outcome("noted", "a test"))],
        NOW,
        lambda *_: journal.Ruling(journal.Go.GO, ""),
    )
    kept = entry.incident.alerts
    assert all(alert in many[-MAX_ALERTS_HELD:] for alert in kept[1:])
    assert 15 <= len(kept) <= MAX_ALERTS_HELD
    assert pack(entry.incident)
    assert apply(Outcome("", ""), entry.incident) == entry.incident
