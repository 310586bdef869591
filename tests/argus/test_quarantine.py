"""The commands `quarantine`, `held` and `release` against a portal that answers on loopback."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from argus.quarantine import since
from argus.target import Trouble
from shared.model.event import Event, TicketUpdateRequested, UpdateKind
from shared.model.outcome import Go, Ruling
from shared.model.pipeline import Queue
from shared.records import incidents, journal, quarantine
from shared.records.quarantine import Quarantined, Standing
from tests.argus.conftest import Shell
from tests.portal.world import INCIDENT, incident, keep


def event(shell: Shell, identity: str = "e1-0001") -> Event:
    data = TicketUpdateRequested(UpdateKind.NOTE, "hello")
    return Event(identity, "/x", INCIDENT, shell.site.clock.now, data)


def waits(shell: Shell, identity: str = "e1-0001", reason: str = "bug") -> Quarantined:
    if incidents.load(shell.site.store, INCIDENT) is None:
        keep(shell.site.store, incident())
    one = event(shell, identity)
    return quarantine.keep_event(shell.site.store, one, "ticket_updates", reason, "no\x1bway", one.time)


def sent(shell: Shell) -> list[str]:
    return [message.message_id for message in shell.site.bus.sent[Queue.TICKET_UPDATES]]


@pytest.mark.parametrize("word", [(), ("list",)])
def test_without_a_word_it_lists_what_waits(shell: Shell, word: tuple[str, ...]) -> None:
    assert "nothing waits in quarantine" in shell("quarantine", *word)[1]
    entry = waits(shell)
    code, out, _ = shell("quarantine", *word)
    assert code == 0
    assert out.splitlines()[1].startswith(entry.id[:8])
    assert "no⟨U+001B⟩way" in out
    (found,) = json.loads(shell("quarantine", *word, "--json", "--limit", "5")[1])["quarantined"]
    assert shell.site.browser("maya").get(found["raw"]).body.endswith(b"}")
    assert "quarantine: 1 waiting; see `python -m argus quarantine`" in shell("status")[1]


def test_dead_letters_that_are_still_with_the_broker_are_announced(shell: Shell) -> None:
    assert "dead letters on their way here, within a minute: 1 of actions" in shell("quarantine")[1]
    shell.far.queues = []
    assert "on their way" not in shell("quarantine")[1]


def test_show_tells_everything_and_the_body(shell: Shell) -> None:
    entry = waits(shell)
    code, out, _ = shell("quarantine", "show", entry.id[:6])
    assert code == 0
    for text in (entry.id, "waiting", "no⟨U+001B⟩way", "e1-0001.0", "possible", '"text":"hello"'):
        assert text in out
    assert json.loads(shell("quarantine", "show", entry.id, "--json")[1])["entry"]["id"] == entry.id
    assert json.loads(shell("quarantine", "show", entry.id, "--raw")[1])["id"] == "e1-0001"
    code, _, err = shell("quarantine", "show", "ffffffff")
    assert (code, "no such entry" in err) == (1, True)


def test_M3_replay_once_then_again(shell: Shell) -> None:
    entry = waits(shell)
    code, out, _ = shell("quarantine", "replay", entry.id[:8], "--as", "maya")
    assert (code, "replayed by maya as attempt 1" in out) == (0, True)
    code, out, _ = shell("quarantine", "replay", "--as", "liam", entry.id)
    assert (code, "maya has replayed it already" in out, "--again" in out) == (0, True, True)
    assert sent(shell) == ["e1-0001.1"]
    assert shell("quarantine", "replay", entry.id, "--again", "--as", "liam")[0] == 0
    assert sent(shell) == ["e1-0001.1", "e1-0001.2"]
    assert "replayed by liam" in shell("quarantine", "--all")[1]
    assert "nothing waits" in shell("quarantine")[1]


def test_many_at_once_with_a_count_and_safe_to_repeat(shell: Shell) -> None:
    for number in range(5):
        waits(shell, f"e{number}-0001", "bug" if number else "refused")
    quarantine.keep_body(shell.site.store, "w", "azure_monitor", "bug", "?", b"<html>", shell.site.clock.now)
    code, out, _ = shell("quarantine", "replay", "--all", "--reason", "bug", "--as", "maya")
    assert code == 1
    assert "5/5  " in out
    assert "4 of 5 replayed, 0 were so before, 1 failed" in out
    assert "not JSON" in out
    assert len(sent(shell)) == 4
    code, out, _ = shell(
        "quarantine", "replay", "--all", "--origin", "ticket_updates", "--reason", "bug", "--as", "maya"
    )
    assert (code, "nothing waits that fits" in out) == (0, True)
    assert len(sent(shell)) == 4
    code, out, _ = shell("quarantine", "drop", "--all", "--since", "1h", "--why", "a drill", "--as", "maya")
    assert (code, "2 of 2 dropped" in out) == (0, True)
    assert "nothing waits" in shell("quarantine")[1]


def test_drop_asks_for_a_reason_and_a_name(shell: Shell) -> None:
    entry = waits(shell)
    for arguments in (["--as", "maya"], ["--why", "x"]):
        with pytest.raises(SystemExit) as caught:
            shell("quarantine", "drop", entry.id, *arguments)
        assert caught.value.code == 2
    assert shell("quarantine", "drop", entry.id, "--why", "a drill", "--as", "maya")[0] == 0
    found = quarantine.again(shell.site.store, entry, shell.site.clock.now)
    assert found is not None
    assert (found.standing, found.by, found.why) == (Standing.DROPPED, "maya", "a drill")
    code, _, err = shell("quarantine", "replay", entry.id, "--as", "liam")
    assert (code, "maya has dropped it" in err) == (1, True)


@pytest.mark.parametrize("arguments", [[], ["abcdef12", "--all"]], ids=["nothing", "both"])
def test_it_must_be_said_what_to_replay(shell: Shell, arguments: list[str]) -> None:
    code, _, err = shell("quarantine", "replay", *arguments, "--as", "maya")
    assert (code, "ids, or --all" in err) == (1, True)


def test_somebody_outside_the_group_is_refused(shell: Shell) -> None:
    entry = waits(shell)
    code, _, err = shell("quarantine", "replay", entry.id, "--as", "ruth")
    assert (code, "Only members of oncall" in err) == (1, True)
    assert not sent(shell)


def test_a_time_is_an_age_or_a_moment() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert since("90s", now) == (now - timedelta(seconds=90)).isoformat()
    assert since("3d", now) == (now - timedelta(days=3)).isoformat()
    assert since("2026-11-20T01:00:00", now) == "2026-11-20T01:00:00+00:00"
    for wrong in ("soon", "2w", "999999d", ""):
        with pytest.raises(Trouble):
            since(wrong, now)


def hold(shell: Shell, identity: str = "e1-0001") -> None:
    if incidents.load(shell.site.store, INCIDENT) is None:
        keep(shell.site.store, incident())
    one = event(shell, identity)
    until = one.time + timedelta(hours=1)
    journal.hold(shell.site.store, one, Ruling(Go.HOLD, "the executor is on hold", until, "oncall"), until, one.time)


def test_H9_held_lists_incident_event_reason_and_who_may(shell: Shell) -> None:
    assert shell("held")[1] == "no event is held\n"
    hold(shell)
    code, out, _ = shell("held")
    line = out.splitlines()[1]
    assert code == 0
    for text in (INCIDENT[:8], "e1-0001", "ticket_updater", "oncall", "the executor is on hold", "left"):
        assert text in line
    assert json.loads(shell("held", "--json")[1])["count"] == 1
    assert "held: 1 events wait to be released" in shell("status")[1]


def test_H9_release_one_or_all(shell: Shell) -> None:
    hold(shell)
    hold(shell, "e2-0002")
    code, _, err = shell("release", INCIDENT[:8], "--as", "maya")
    assert (code, "2 events are held" in err) == (1, True)
    code, out, _ = shell("release", INCIDENT[:8], "e2", "--as", "maya")
    assert (code, out.startswith("released argus.ticket.update_requested.v1 e2-0002")) == (0, True)
    assert shell("release", INCIDENT, "--all", "--as", "maya")[0] == 0
    assert sent(shell) == ["e2-0002.1", "e1-0001.1"]
    code, _, err = shell("release", INCIDENT, "--as", "maya")
    assert (code, "no held event" in err) == (1, True)


def test_H9_somebody_outside_the_group_releases_nothing(shell: Shell) -> None:
    hold(shell)
    code, _, err = shell("release", INCIDENT, "--as", "ruth")
    assert (code, "Only members of oncall" in err) == (1, True)
    assert not sent(shell)
