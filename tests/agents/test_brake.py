"""Rules B1 to B3 as decisions: when the brake goes on, what it holds, who is first, and what people read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.agents import brake as policy
from shared.agents import conductor
from shared.agents.brake import Braked, Rate
from shared.config.policy import BrakeSettings
from shared.model import event as ev
from shared.model.incident import Incident
from shared.model.lifecycle import State
from shared.model.notice import NoticeKind
from shared.model.outcome import Go
from shared.model.signal import Severity
from shared.model.ticket import Ticket
from shared.records.brake import Brake, InWork, Seen, Waiting
from shared.records.index import line_of
from tests.agents.cases import NOW, incident
from tests.agents.test_conductor import SAMPLES, notice

LIMITS = BrakeSettings(quiet_s=60)
TICKET = Ticket("desk", "key", "INC1", "https://desk.example/1")
CREATION = ev.IncidentRequested("nobody", "t", "shop", Severity.SEV2)


def judged(payload: ev.Payload, of: Incident, cause: ev.Payload = CREATION, ticketing: bool = True) -> Go:
    return conductor.judge(payload, of, Braked(cause, ticketing)).go


class TestRate:
    def test_more_than_the_limit_within_a_minute_is_a_storm(self) -> None:
        rate = Rate()
        assert not any(rate.opened(f"i{n}", NOW + timedelta(seconds=n), 20) for n in range(20))
        assert rate.opened("i20", NOW + timedelta(seconds=59), 20) == "i19"

    def test_the_same_number_in_more_than_a_minute_is_none(self) -> None:
        rate = Rate()
        assert not any(rate.opened(f"i{n}", NOW + timedelta(seconds=3 * n), 20) for n in range(200))

    def test_the_same_incident_again_counts_once(self) -> None:
        rate = Rate()
        assert not any(rate.opened("i", NOW, 3) for _ in range(20))
        assert rate.within(NOW) == 1
        assert rate.within(NOW + timedelta(minutes=1)) == 0


HELD = {ev.TicketRequested, ev.InvestigationRequested, ev.ApprovalRequested, ev.TicketUpdateRequested}


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.TYPE)
def test_B1_what_is_held(kind: type[ev.Payload]) -> None:
    wanted = Go.HOLD if kind in HELD else Go.SKIP if kind is ev.NotificationRequested else Go.GO
    assert judged(SAMPLES[kind], incident(ticket=None)) is wanted
    assert conductor.judge(SAMPLES[kind], incident()).go is Go.GO, "the brake is off"


@pytest.mark.parametrize("kind", NoticeKind)
def test_B1_the_first_notification_and_what_people_wait_for_are_told(kind: NoticeKind) -> None:
    replaced = {NoticeKind.REOPENED, NoticeKind.PUBLISHED, NoticeKind.INFO}
    assert judged(notice(kind), incident()) is (Go.SKIP if kind in replaced else Go.GO)


@pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.TYPE)
def test_B1_what_a_person_has_taken_passes(kind: type[ev.Payload]) -> None:
    assert judged(SAMPLES[kind], incident(acknowledged_by="olga")) is Go.GO
    assert judged(SAMPLES[kind], incident(source="person:olga")) is Go.GO


def test_B1_exceptions() -> None:
    update, look = SAMPLES[ev.TicketUpdateRequested], ev.InvestigationRequested()
    assert judged(update, incident(ticket=TICKET)) is Go.GO, "the ticket is there"
    assert judged(update, incident(ticket=None), ticketing=False) is Go.GO, "there will be none"
    assert judged(ev.InvestigationRequested("olga"), incident()) is Go.GO, "a person asked"
    assert judged(look, incident(), cause=look) is Go.GO, "it looks again"
    assert judged(ev.TicketRequested("desk"), incident(state=State.CLOSED, ticket=None)) is Go.HOLD
    assert judged(look, incident(state=State.CLOSED)) is Go.SKIP


def waiting(name: str, severity: Severity = Severity.SEV2, alerts: int = 1, minutes: int = 0) -> Waiting:
    at = NOW + timedelta(minutes=minutes)
    return Waiting(name, False, name, "shop", severity, alerts, at, at)


def test_B1_severity_then_alerts_then_age_and_a_person_first() -> None:
    queue = [
        waiting("young", minutes=5), waiting("old"), waiting("wide", alerts=9), waiting("worst", Severity.SEV0, 1, 9),
        waiting("taken", Severity.SEV3, 1, 9), waiting("raised", Severity.SEV3),
    ]  # fmt: skip
    line = line_of(incident())
    lines = {
        "taken": replace(line, severity=Severity.SEV3, acknowledged_by="olga"),
        "raised": replace(line, severity=Severity.SEV1, acknowledged_by="", alert_count=1),
    }
    order = sorted(queue, key=lambda one: policy.rank(one, lines.get(one.incident_id)))
    assert [one.incident_id for one in order] == ["taken", "worst", "raised", "wide", "old", "young"]


ON = Brake("e", True, NOW, why="more than 20", seen_at=NOW, owed="on")


@pytest.mark.parametrize(
    ("known", "seen", "after_s", "over"),
    [
        pytest.param(ON, (), 60, True, id="calm-and-nothing-held"),
        pytest.param(ON, (), 59, False, id="not-calm-for-long-enough"),
        pytest.param(ON, (waiting("i"),), 600, False, id="somebody-waits"),
        pytest.param(ON, (replace(waiting("i"), approval=True),), 60, True, id="approvals-wait-for-people"),
        pytest.param(replace(ON, in_work=(InWork("i", "e", NOW),)), (), 600, False, id="somebody-is-in-work"),
        pytest.param(replace(ON, on_by="olga"), (), 600, False, id="a-person-put-it-on"),
        pytest.param(replace(ON, on=False), (), 600, False, id="it-is-off"),
    ],
)
def test_B1_when_it_goes_off_by_itself(known: Brake, seen: tuple[Waiting, ...], after_s: int, over: bool) -> None:
    assert policy.over(known, Seen(known, {}, seen), LIMITS, NOW + timedelta(seconds=after_s)) is over


def test_B1_a_person_who_puts_it_off_is_obeyed_for_a_while() -> None:
    off = replace(ON, on=False, ended_at=NOW, ended_by="olga")
    assert not policy.may_go_on(off, LIMITS, NOW + timedelta(minutes=14))
    assert policy.may_go_on(off, LIMITS, NOW + timedelta(minutes=15))
    assert policy.may_go_on(replace(off, ended_by=""), LIMITS, NOW)
    assert not policy.may_go_on(Brake(), BrakeSettings(enabled=False), NOW)
    assert not policy.may_go_on(ON, LIMITS, NOW)


def test_B3_the_digest_says_how_many_which_are_worst_and_what_happens_next() -> None:
    one = incident(opened_at=NOW, title="Orders fail", service="pay", severity=Severity.SEV0, alert_count=12)
    lines = [line_of(one), line_of(incident(opened_at=NOW - timedelta(hours=3), title="Yesterday's"))]
    card = policy.digest(ON, Seen(ON, {}, (waiting("i"),)), lines, LIMITS, "https://argus.example/")
    assert (card.kind, card.title, card.severity) == (NoticeKind.STORM, "Storm brake on: more than 20", Severity.SEV0)
    assert [(fact.name, fact.value) for fact in card.facts] == [
        ("Incidents", "1 (1 sev0)"),
        ("Waiting", "1 for ticket and investigation"),
        ("Worst 1", "pay: Orders fail (sev0, 12 alerts)"),
    ]
    assert "at most 10 approvals" in card.text
    off = replace(ON, on=False, owed="off", ended_why="the drill is over", let_go=7)
    last = policy.digest(off, Seen(off, {}, ()), lines, LIMITS, "https://argus.example/")
    assert (last.title, last.text) == ("Storm brake off: 7 held incidents were worked on", "The drill is over.")
