"""Rules H2 and H3: nobody touches the outside twice at once, and whoever comes after a crash asks first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from shared import dispatch
from shared.adapters.stores.sqlite import SqliteStore
from shared.model import codec
from shared.model.errors import PermanentError, TransientError
from shared.model.event import DiagnosisMade, Event, NotificationRequested, TicketUpdateRequested, UpdateKind
from shared.model.notice import Notice, NoticeKind
from shared.model.pipeline import DESTINATION, MicroAgent
from shared.model.signal import Severity
from shared.ports.bus import Message
from shared.records import incidents, intents
from tests.pipeline.faults import Crash, Points
from tests.pipeline.world import START, World

TIMEOUT = timedelta(seconds=60)
LEASE = TIMEOUT + timedelta(minutes=1)
NOTE = Event("e1", "/people/test", "incident-1", START, TicketUpdateRequested(UpdateKind.NOTE, "hello"))


def note(world: World, **changes: object) -> Event:
    return replace(NOTE, subject=world.ids()[0], time=world.now, **changes)  # type: ignore[arg-type]


def deliver(world: World, event: Event) -> None:
    dispatch.hop(world.engine, DESTINATION[type(event.data)], codec.encode_event(event))


def scheduled(world: World, event: Event) -> list[float]:
    """Seconds until the next attempts of an event."""
    return [
        (entry.visible_at - world.now).total_seconds()
        for entry in world.bus.entries
        if entry.message.message_id.startswith(event.id)
    ]


def state_of(world: World, event: Event) -> str:
    intent = incidents.intent_of(world.inner, event.subject, event.id)
    assert intent is not None
    return intent.state


def test_H2_the_first_claim_is_no_repeat_and_a_second_one_waits_for_the_end_of_the_lease(store: SqliteStore) -> None:
    assert intents.claim(store, NOTE, "a", TIMEOUT, START) is False
    with pytest.raises(TransientError) as refused:
        intents.claim(store, NOTE, "b", TIMEOUT, START + timedelta(seconds=50))
    assert refused.value.retry_after == LEASE - timedelta(seconds=50)
    assert refused.value.sent is False


@pytest.mark.parametrize(
    ("not_sent", "repeat"), [pytest.param(True, False, id="not-sent-goes-on"), pytest.param(False, True, id="unknown")]
)
def test_H2_a_given_back_intent_is_free_at_once(store: SqliteStore, not_sent: bool, repeat: bool) -> None:
    intents.claim(store, NOTE, "a", TIMEOUT, START)
    intents.give_back(store, NOTE, "a", not_sent, START)
    assert intents.claim(store, NOTE, "b", TIMEOUT, START) is repeat


def test_H2_an_expired_lease_is_taken_over_and_may_be_a_repeat(store: SqliteStore) -> None:
    intents.claim(store, NOTE, "a", TIMEOUT, START)
    assert intents.claim(store, NOTE, "b", TIMEOUT, START + LEASE) is True


def test_H2_two_owners_take_over_and_one_wins_by_etag(store: SqliteStore) -> None:
    intents.claim(store, NOTE, "a", TIMEOUT, START)
    later = START + LEASE
    stale = incidents.intent_of(store, NOTE.subject, NOTE.id)
    assert stale is not None
    assert intents.claim(store, NOTE, "b", TIMEOUT, later) is True
    lost = incidents.write_intent(store, NOTE.subject, NOTE.id, "c", later + LEASE, "started", stale.etag)
    assert lost is False
    with pytest.raises(TransientError, match="works on it"):
        intents.claim(store, NOTE, "c", TIMEOUT, later)


def test_H2_only_the_owner_gives_back(store: SqliteStore) -> None:
    intents.claim(store, NOTE, "a", TIMEOUT, START)
    intents.claim(store, NOTE, "b", TIMEOUT, START + LEASE)
    intents.give_back(store, NOTE, "a", True, START + LEASE)
    assert intents.begun(store, NOTE)
    with pytest.raises(TransientError):
        intents.claim(store, NOTE, "c", TIMEOUT, START + LEASE)


def test_H2_after_a_crash_the_far_side_is_asked_before_anything_is_done_again(opened: World) -> None:
    event = note(opened)
    opened.points.after = {opened.points.count + 2}  # the intent, then the note
    with pytest.raises(Crash):
        deliver(opened, event)
    deliver(opened, event)
    assert scheduled(opened, event) == [pytest.approx(LEASE.total_seconds(), abs=1)]
    opened.settle()
    assert [text for _, text in opened.desk.notes].count("hello") == 1
    assert opened.story()[-1] == "ticket INC0000001 noted"


def test_H2_where_nobody_can_be_asked_a_repeat_says_so(opened: World) -> None:
    data = NotificationRequested("chat", Notice(NoticeKind.INFO, "hello", "you", Severity.SEV2, "thread"))
    opened.points.after = {opened.points.count + 2}
    with pytest.raises(Crash):
        deliver(opened, note(opened, data=data))
    deliver(opened, note(opened, data=data))
    opened.settle()
    assert [repeat for key, _, repeat in opened.chat.posts if key == "e1"] == [False, True]


def test_H2_a_crash_before_the_effect_does_not_swallow_it(opened: World) -> None:
    event = note(opened)
    opened.points.after = {opened.points.count + 1}
    with pytest.raises(Crash):
        deliver(opened, event)
    deliver(opened, event)
    opened.settle()
    assert [text for _, text in opened.desk.notes].count("hello") == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(TransientError("refused", sent=False), "not_sent", id="certainly-not"),
        pytest.param(TransientError("lost", sent=None), "unknown", id="nobody-knows"),
        pytest.param(PermanentError("no"), "unknown", id="refused-for-good"),
        pytest.param(KeyError("bug"), "unknown", id="bug"),
    ],
)
def test_H3_the_intent_says_whether_anything_was_sent(opened: World, error: Exception, state: str) -> None:
    opened.desk.failures = [error]  # type: ignore[list-item]
    event = note(opened)
    deliver(opened, event)
    assert state_of(opened, event) == state


def test_H3_a_lost_answer_stays_unknown_however_later_attempts_end(opened: World) -> None:
    """The second attempt certainly did nothing; the first one may have."""
    event = note(opened)
    opened.desk.failures = [TransientError("lost", sent=None), TransientError("refused", sent=False)]
    opened.bus.put(DESTINATION[TicketUpdateRequested], message(event))
    opened.run_until(lambda: not opened.desk.failures)
    assert state_of(opened, event) == "unknown"
    opened.settle()
    assert [text for _, text in opened.desk.notes].count("hello") == 1


def test_H3_what_an_earlier_micro_agent_of_the_chain_did_counts_as_sent(opened: World) -> None:
    """The enricher has written its note when the recommender cannot read the target: the note is not written twice."""
    failures = [TransientError("the target cannot be read", sent=False)]
    live = opened.workload.facts

    class Away(type(opened.workload)):  # type: ignore[misc]
        def facts(self, target: str) -> object:
            if failures:
                raise failures.pop()
            return live(target)

    actions = {"deploy_hook": Away(Points())}
    opened.engine = replace(opened.engine, ports=replace(opened.engine.ports, actions=actions))
    notes = len(opened.desk.notes)
    event = note(opened, data=DiagnosisMade(1))
    opened.bus.put(DESTINATION[DiagnosisMade], message(event))
    opened.run_until(lambda: not failures)
    assert state_of(opened, event) == "unknown"
    opened.settle()
    assert len(opened.desk.notes) == notes + 1
    assert MicroAgent.RECOMMENDER in [entry.micro_agent for entry in opened.timeline() if entry.event_id == event.id]


def test_H2_a_process_that_hangs_longer_than_its_lease_cannot_commit_twice(opened: World) -> None:
    """Its message is delivered again, taken over and committed; the late commit meets the inbox."""
    event = note(opened)
    opened.points.after = {opened.points.count + 1}
    with pytest.raises(Crash):
        deliver(opened, event)
    opened.clock[0] += LEASE
    deliver(opened, event)
    deliver(opened, event)
    assert opened.story().count("ticket INC0000001 noted") == 1


def message(event: Event) -> Message:
    return Message(event.message_id, codec.encode_event(event), event.subject)
