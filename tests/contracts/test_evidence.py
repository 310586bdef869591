"""Every evidence source answers, whatever the far side does; nothing it meets is an exception."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.evidence import EVIDENCE
from shared.adapters.evidence import investigator as investigating
from shared.adapters.evidence.content import identify
from shared.adapters.evidence.investigator import PooledInvestigator
from shared.adapters.registry import Surroundings
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus
from shared.model.errors import PermanentError, TransientError
from shared.ports.evidence import EvidenceSource, Question
from tests.adapters.evidence.lateness import Patience
from tests.adapters.far_side import FarSide, Said, closed_port, far_side
from tests.adapters.refusals import HASTY_S, SECRET

ONSET = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUESTION = Question("shop", ONSET - timedelta(seconds=60), ONSET, ONSET + timedelta(seconds=60))

SECTIONS: dict[str, dict[str, Any]] = {
    "log_http": {"url": "{where}/logs?since={since}&limit={limit}"},
    "changes_http": {"url": "{where}/deploys?since={since}"},
    "prometheus_api": {"url": "{where}", "queries": {"errors": 'rate(e{service="{service}"}[1m])'}},
}
GARBAGE = (
    b"",
    b"<html>",
    b"\xff\xfe",
    b"null",
    b"5",
    b'"x"',
    b"{}",
    b"[]",
    b"[5, null, []]",
    b'[{"ts": 5e300, "at": true}]',
    b'[{"at": "never", "ts": "2026-13-45"}]',
    b'{"status": "success", "data": {"resultType": "matrix", "result": [5]}}',
    b'{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": 5, "values": [5, [1], ["a"]]}]}}',
    b'{"status": "success", "data": {"resultType": "vector", "result": []}}',
    b"[" * 20_000,
)


def build(name: str, where: str, **changed: Any) -> EvidenceSource:
    adapter = EVIDENCE[name]
    section = {**SECTIONS[name], "token": SECRET, **changed}
    section["url"] = section["url"].replace("{where}", where)
    return adapter.build(name, adapter.config.model_validate(section), Surroundings(root=Path()))


@pytest.fixture(params=sorted(EVIDENCE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


def assert_well_formed(found: tuple[Evidence, ...]) -> None:
    assert len(found) <= 20
    for evidence in found:
        assert evidence.id == identify(evidence).id
        assert len(evidence.id) == 16
        assert evidence.title
        assert evidence.summary
        assert len(evidence.lines) <= 40
        assert SECRET not in repr(evidence)


def test_every_status_becomes_evidence(name: str, side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = build(name, side.url)
    for status in range(200, 600):
        side.answer = lambda asked, status=status: Said(status, asked.echo(), {"location": "/x"})  # type: ignore[misc]
        (evidence,) = source.gather(QUESTION)
        assert_well_formed((evidence,))
        assert evidence.status is not EvidenceStatus.OK
        assert evidence.status is EvidenceStatus.ERROR or status < 300
    assert SECRET not in caplog.text


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: body[:20].decode("ascii", "replace") or "empty")
def test_garbage_becomes_evidence(name: str, side: FarSide, body: bytes) -> None:
    side.answer = lambda asked: Said(200, body)
    found = build(name, side.url).gather(QUESTION)
    assert found
    assert_well_formed(found)
    assert all(evidence.status is not EvidenceStatus.OK for evidence in found)


def test_a_broken_connection_becomes_evidence(name: str, side: FarSide) -> None:
    for said in (Said(drop=True), Said(hang=True)):
        side.answer = lambda asked, said=said: said  # type: ignore[misc]
        hasty = {"timeout_s": HASTY_S} if said.hang else {}
        found = build(name, side.url, **hasty).gather(QUESTION)
        assert [evidence.status for evidence in found] == [EvidenceStatus.ERROR]
        assert_well_formed(found)
    (evidence,) = build(name, f"http://127.0.0.1:{closed_port()}").gather(QUESTION)
    assert evidence.status is EvidenceStatus.ERROR


def test_a_source_of_another_service_is_not_asked(name: str, side: FarSide) -> None:
    assert build(name, side.url, service="bank").gather(QUESTION) == ()
    assert side.asked == []


def test_the_token_goes_out_and_stays_out_of_the_evidence(name: str, side: FarSide) -> None:
    assert_well_formed(build(name, side.url).gather(QUESTION))
    assert side.asked[0].headers["authorization"] == f"Bearer {SECRET}"


# --- the investigator ---


class Fixed:
    """A source that answers, fails, or waits for the end of the test."""

    kind = EvidenceKind.METRIC

    def __init__(self, answer: tuple[Evidence, ...] | Exception | threading.Event) -> None:
        self.answer = answer
        self.asked = 0

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, threading.Event):
            self.answer.wait(20)
            return ()
        return self.answer


def metric(title: str) -> Evidence:
    return identify(Evidence("", EvidenceKind.METRIC, "s", "q", EvidenceStatus.OK, title, "fine"))


@pytest.fixture
def over() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_all_sources_answer_in_the_order_of_their_configuration(
    over: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No fake of the sources ends a time-out at the moment when all but one have answered.
    patience = Patience(late=1)
    monkeypatch.setattr(investigating, "wait_for", patience)
    broken = ValueError("a bug")
    sources = {
        "a": Fixed((metric("one"), metric("two"))),
        "late": Fixed(over),
        "busy": Fixed(TransientError("cannot be reached")),
        "gone": Fixed(PermanentError("answered 404")),
        "broken": Fixed(broken),
        "z": Fixed((metric("three"),)),
    }
    investigator = PooledInvestigator({name: (source, None) for name, source in sources.items()}, 0.3, 8)
    found = investigator.gather(QUESTION)
    investigator.close()
    assert_well_formed(found)
    assert [evidence.status.value for evidence in found] == ["ok", "ok", "error", "error", "error", "error", "ok"]
    assert [evidence.source for evidence in found[2:6]] == ["late", "busy", "gone", "broken"]
    assert "0.3 s" in found[2].summary
    assert 0 < patience.waited_s[0] <= 0.3
    assert found[3].summary == "cannot be reached"
    assert found[2].kind is EvidenceKind.METRIC


def test_only_the_sources_of_the_service_are_asked() -> None:
    mine, other, everybodys = (Fixed((metric(title),)) for title in ("mine", "other", "everybodys"))
    sources = {"mine": (mine, {"shop"}), "other": (other, {"bank"}), "all": (everybodys, None)}
    found = PooledInvestigator(sources, 20, 2).gather(QUESTION)
    assert [evidence.title for evidence in found] == ["mine", "everybodys"]
    assert other.asked == 0


def test_a_source_that_never_answers_holds_up_nobody_for_longer_than_the_time_out(over: threading.Event) -> None:
    sources = {f"late {n}": (Fixed(over), None) for n in range(5)}
    found = PooledInvestigator(sources, 0.2, 2).gather(QUESTION)
    assert len(found) == 5
    assert {evidence.status for evidence in found} == {EvidenceStatus.ERROR}


def test_nobody_to_ask_is_no_evidence() -> None:
    assert PooledInvestigator({}, 1, 1).gather(QUESTION) == ()


def test_the_id_is_the_content() -> None:
    evidence = metric("one")
    assert identify(replace(evidence, id="whatever")) == evidence
    assert identify(replace(evidence, summary="other")).id != evidence.id
    assert json.dumps(evidence.id)
