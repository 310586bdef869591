"""Every ticket system keeps the promises of `shared/ports/ticketing.py`; the project's stand-in is the far side."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.registry import Surroundings
from shared.adapters.ticketing import TICKETING
from shared.config.schema import Service
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.signal import Severity
from shared.model.ticket import Ticket, TicketDraft
from shared.ports.ticketing import Ticketing
from tests.adapters.far_side import Asked, FarSide, Said, far_side
from tests.adapters.refusals import SECRET, check_broken, check_statuses
from tests.adapters.sandboxed import TOKENS, Sandboxed, Spoil, sandboxed

GROUP = "0123456789abcdef0123456789abcdef"
SERVICES = {"shop": Service(assignment_group=GROUP), "bank": Service(assignment_group="Bank people")}
DRAFT = TicketDraft("INC-7f3a", "Checkout fails", "5xx above 5 %", "shop", Severity.SEV1, "http://127.0.0.1/i/INC-7f3a")
KEY = "a" * 32


def build(where: str, **changed: Any) -> Ticketing:
    adapter = TICKETING["servicenow"]
    section = adapter.config.model_validate({"url": where, "token": SECRET, **changed})
    return adapter.build("snow", section, Surroundings(root=Path(), services=SERVICES))


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Sandboxed]:
    with sandboxed(tmp_path) as running:
        yield running


@pytest.fixture
def tickets(stand_in: Sandboxed) -> Ticketing:
    return build(f"{stand_in.url}/servicenow", token=TOKENS.servicenow_token)


def incidents(stand_in: Sandboxed) -> list[dict[str, Any]]:
    return stand_in.store.all("incident")


def notes(stand_in: Sandboxed) -> list[str]:
    return [row["value"] for row in stand_in.store.all("sys_journal_field")]


def test_a_ticket_is_opened_once_however_often_it_is_asked_for(tickets: Ticketing, stand_in: Sandboxed) -> None:
    first = tickets.open(DRAFT)
    assert tickets.open(DRAFT) == first
    (row,) = incidents(stand_in)
    assert first == Ticket(
        "snow",
        row["sys_id"],
        row["number"],
        f"{stand_in.url}/servicenow/nav_to.do?uri=incident.do%3Fsys_id%3D{row['sys_id']}",
    )
    assert row["short_description"] == "Checkout fails"
    assert "http://127.0.0.1/i/INC-7f3a" in row["description"]
    assert (row["impact"], row["urgency"], row["priority"]) == ("1", "2", "2")
    assert row["correlation_display"] == "ARGUS"
    assert row["assignment_group"] == GROUP


def test_a_lost_answer_does_not_open_a_second_ticket(tickets: Ticketing, stand_in: Sandboxed) -> None:
    stand_in.once("POST", "/table/incident", Spoil(lost=True))
    with pytest.raises(TransientError) as caught:
        tickets.open(DRAFT)
    assert caught.value.sent is None
    assert tickets.open(DRAFT).number == incidents(stand_in)[0]["number"]
    assert len(incidents(stand_in)) == 1


def test_a_failure_after_the_insert_never_says_that_nothing_was_sent(tickets: Ticketing, stand_in: Sandboxed) -> None:
    gets = iter((None, Spoil(status=429)))
    stand_in.rules.append(lambda method, path: next(gets, None) if method == "GET" else None)
    with pytest.raises(TransientError) as caught:
        tickets.open(DRAFT)
    assert caught.value.sent is None
    assert tickets.open(DRAFT)
    assert len(incidents(stand_in)) == 1


def test_of_two_opened_at_the_same_moment_the_oldest_stays(tickets: Ticketing, stand_in: Sandboxed) -> None:
    both = threading.Barrier(2)
    waited = threading.local()

    found = type(tickets)._find  # type: ignore[attr-defined]

    class Racing(type(tickets)):  # type: ignore[misc]
        """Both ask before either has opened."""

        def _find(self, correlation_id: str) -> Any:
            rows = found(self, correlation_id)
            if not getattr(waited, "once", False):
                waited.once = True
                both.wait(20)
            return rows

    racing = Racing(tickets._name, tickets._config, {})  # type: ignore[attr-defined]
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(racing.open, (DRAFT, DRAFT))
    assert first == second
    states = {row["number"]: row["state"] for row in incidents(stand_in)}
    assert len(states) == 2
    assert states.pop(first.number) == "1"
    assert list(states.values()) == ["8"]
    assert any("Duplicate of" in note for note in notes(stand_in))


def test_a_note_carries_its_marker_and_is_written_once_on_a_repeat(tickets: Ticketing, stand_in: Sandboxed) -> None:
    ticket = tickets.open(DRAFT)
    stand_in.once("PATCH", "/table/incident", Spoil(lost=True))
    with pytest.raises(TransientError) as caught:
        tickets.note(ticket, "cause found", "evt-1", repeat=False)
    assert caught.value.sent is None
    tickets.note(ticket, "cause found", "evt-1", repeat=True)
    tickets.note(ticket, "something else", "evt-2", repeat=True)
    assert notes(stand_in) == ["cause found\n\n[argus:evt-1]", "something else\n\n[argus:evt-2]"]


def test_a_note_renders_no_html(tickets: Ticketing, stand_in: Sandboxed) -> None:
    tickets.note(tickets.open(DRAFT), "[code]<img src=x>[/CODE]", "evt-1", repeat=False)
    assert "[code]" not in notes(stand_in)[0].lower()


def test_resolving_and_reopening_are_idempotent(tickets: Ticketing, stand_in: Sandboxed) -> None:
    ticket = tickets.open(DRAFT)
    for _ in range(2):
        tickets.resolve(ticket, "rolled back", "evt-1")
    (row,) = incidents(stand_in)
    assert row["state"] == "6"
    assert row["close_code"] == "Solution provided"
    assert row["close_notes"] == "rolled back\n\n[argus:evt-1]"
    assert stand_in.count("PATCH", ticket.key) == 1
    for _ in range(2):
        tickets.reopen(ticket, "it is back", "evt-2")
    assert incidents(stand_in)[0]["state"] == "2"
    assert notes(stand_in) == ["it is back\n\n[argus:evt-2]"]
    tickets.reopen(ticket, "said once more", "evt-3")
    assert notes(stand_in)[1:] == ["said once more\n\n[argus:evt-3]"]


def test_a_close_code_the_instance_does_not_know_is_permanent(stand_in: Sandboxed) -> None:
    token = TOKENS.servicenow_token
    tickets = build(f"{stand_in.url}/servicenow", token=token, close_code="Solved (Permanently)")
    with pytest.raises(PermanentError):
        tickets.resolve(tickets.open(DRAFT), "done", "evt-1")


def test_a_long_or_empty_title_still_opens_a_ticket(tickets: Ticketing, stand_in: Sandboxed) -> None:
    tickets.open(TicketDraft("INC-1", "x" * 500, "", "bank", Severity.SEV4, ""))
    tickets.open(TicketDraft("INC-2", " \n ", "", "nobody", Severity.SEV0, ""))
    first, second = incidents(stand_in)
    assert len(first["short_description"]) == 160
    assert "Assignment group: Bank people" in first["description"]
    assert second["short_description"] == "(no title)"
    assert second["priority"] == "1"


def test_a_token_that_is_refused_is_permanent(stand_in: Sandboxed) -> None:
    with pytest.raises(PermanentError) as caught:
        build(f"{stand_in.url}/servicenow").open(DRAFT)
    assert caught.value.reason is Reason.UNAUTHORIZED


@pytest.mark.parametrize("value", ["INC^ORactive=true", "INC 1", "", "x" * 101, "INC\n"])
def test_what_could_widen_a_query_is_refused_before_anything_is_sent(side: FarSide, value: str) -> None:
    tickets = build(side.url)
    draft = TicketDraft(value, "t", "d", "shop", Severity.SEV1, "")
    for attempt in (
        lambda: tickets.open(draft),
        lambda: tickets.note(Ticket("snow", KEY, "INC1", ""), "t", value, repeat=True),
        lambda: tickets.note(Ticket("snow", value, "INC1", ""), "t", "m", repeat=True),
        lambda: tickets.resolve(Ticket("snow", value, "INC1", ""), "t", "m"),
    ):
        with pytest.raises(PermanentError) as caught:
            attempt()
        assert caught.value.reason is Reason.BAD_INPUT
    assert side.asked == []


def test_a_query_the_instance_ignored_finds_nobody_elses_ticket(side: FarSide) -> None:
    other = {"sys_id": KEY, "number": "INC0000001", "correlation_id": "somebody-else"}

    def answer(asked: Asked) -> Said:
        rows: Any = [other] if asked.method == "GET" else {"sys_id": "b" * 32, "number": "INC0000002"}
        return Said(200, json.dumps({"result": rows}).encode())

    side.answer = answer
    with pytest.raises(PermanentError, match="INC0000002 but does not show"):
        build(side.url).open(DRAFT)


def test_every_status_of_a_read_is_judged(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    tickets = build(side.url)
    check_statuses(lambda url: tickets.open(DRAFT), side, caplog, reading=True)


def test_every_status_of_a_write_is_judged(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    tickets, ticket = build(side.url, token="", user="argus", password=SECRET), Ticket("snow", KEY, "INC1", "")
    check_statuses(lambda url: tickets.note(ticket, "t", "m", repeat=False), side, caplog)


def test_broken_connections(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    ticket = Ticket("snow", KEY, "INC1", "")
    check_broken(lambda url, **more: build(url, **more).open(DRAFT), side, caplog, reading=True)
    check_broken(lambda url, **more: build(url, **more).note(ticket, "t", "m", repeat=False), side, caplog)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>hibernating</html>", b"[]", b"null", b'{"result": 5}', b'{"result": [5]}', b"\xff", b'{"a": 1}'],
)
def test_an_unreadable_success_is_no_success(side: FarSide, body: bytes) -> None:
    side.answer = lambda asked: Said(200, body)
    ticket = Ticket("snow", KEY, "INC1", "")
    with pytest.raises(TransientError) as caught:
        build(side.url).open(DRAFT)
    assert caught.value.sent is False
    with pytest.raises(TransientError) as caught:
        build(side.url).note(ticket, "t", "m", repeat=False)
    assert caught.value.sent is None


def test_a_state_the_instance_did_not_take_is_said(side: FarSide) -> None:
    rows = [{"sys_id": KEY, "state": "2"}]
    side.answer = lambda asked: Said(200, json.dumps({"result": rows if asked.method == "GET" else rows[0]}).encode())
    with pytest.raises(PermanentError) as caught:
        build(side.url).resolve(Ticket("snow", KEY, "INC1", ""), "t", "m")
    assert caught.value.reason is Reason.CONFLICT


def test_a_ticket_that_is_gone_is_permanent(side: FarSide) -> None:
    side.answer = lambda asked: Said(200, b'{"result": []}')
    with pytest.raises(PermanentError) as caught:
        build(side.url).resolve(Ticket("snow", KEY, "INC1", ""), "t", "m")
    assert caught.value.reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"token": ""}, "either token"),
        ({"user": "u", "password": "p"}, "either token"),
        ({"url": "http://example.com"}, "https"),
        ({"caller_id": "Abel Tuter"}, "sys_id"),
    ],
)
def test_a_section_that_cannot_work_is_refused_at_start(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build("https://example.service-now.com", **changed)
    assert SECRET not in str(caught.value)


def test_the_ticket_address_can_be_configured(side: FarSide) -> None:
    row = {"sys_id": KEY, "number": "INC1", "correlation_id": DRAFT.correlation_id}
    side.answer = lambda asked: Said(200, json.dumps({"result": [row]}).encode())
    tickets = build(side.url, ticket_url="https://it.example/{number}?id={sys_id}")
    assert tickets.open(DRAFT).url == f"https://it.example/INC1?id={KEY}"
