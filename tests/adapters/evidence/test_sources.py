"""What logs, deploy logs and metrics say about a bad release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.evidence import EVIDENCE
from shared.adapters.evidence.content import line, parse_time
from shared.adapters.registry import Surroundings
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus
from shared.ports.evidence import Question
from tests.adapters.far_side import FarSide, Said, far_side

ONSET = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
QUESTION = Question("shop", ONSET - timedelta(seconds=60), ONSET, ONSET + timedelta(seconds=60))


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


def ask(kind: str, side: FarSide, answer: object, **section: Any) -> tuple[Evidence, ...]:
    side.answer = lambda asked: Said(200, answer if isinstance(answer, bytes) else json.dumps(answer).encode())
    paths = {"log_http": "/logs?since={since}&limit={limit}", "changes_http": "/deploys?since={since}"}
    section = {"url": side.url + paths.get(kind, ""), **section}
    adapter = EVIDENCE[kind]
    return adapter.build(kind, adapter.config.model_validate(section), Surroundings(root=Path())).gather(QUESTION)


def row(second: float, level: str, message: str, **more: Any) -> dict[str, Any]:
    at = (ONSET + timedelta(seconds=second)).isoformat()
    return {"ts": at, "level": level, "service": "shop", "message": message, **more}


def release_log() -> list[dict[str, Any]]:
    calm = [row(n, "INFO", f"order {n} placed in {n} ms", status=200) for n in range(-60, 60)]
    noise = [row(n, "WARN", f"cache miss for key {n:x}") for n in range(-60, 60, 3)]
    slow = [row(-10, "ERROR", "payment gateway timeout after 812 ms")]
    wrong = [row(n / 2, "ERROR", f"payment gateway timeout after {40 + n} ms", release="2.4.1") for n in range(60)]
    new = [row(5 + n, "ERROR", f"cannot charge order {n:08x}: password=hunter2") for n in range(9)]
    return calm + noise + slow + wrong + new


def test_new_and_rising_kinds_of_errors_are_found_worst_first(side: FarSide) -> None:
    rising, new = ask("log_http", side, release_log(), link="https://logs.example/?from={since}")
    assert rising.status is EvidenceStatus.OK
    assert rising.kind is EvidenceKind.LOG
    assert rising.title == "More ERROR: payment gateway timeout after <num> ms"
    assert rising.summary.startswith("60 times since the onset, 1 times in the 60 s before")
    assert rising.at == ONSET
    assert len(rising.lines) == 20
    assert rising.lines[0] == "2026-11-20T12:00:00.000+00:00 ERROR payment gateway timeout after 40 ms release=2.4.1"
    assert rising.link == "https://logs.example/?from=2026-11-20T11%3A59%3A00.000%2B00%3A00"
    assert new.title.startswith("New ERROR: cannot charge order")
    assert new.at == ONSET + timedelta(seconds=5)
    assert "hunter2" not in repr(new)


def test_points_are_lines_per_second_over_the_whole_window(side: FarSide) -> None:
    rising = ask("log_http", side, release_log())[0]
    assert rising.unit == "lines/s"
    assert rising.points[0].at == QUESTION.start
    assert rising.points[-1].at == QUESTION.end
    assert sum(point.value for point in rising.points) == 61
    by_time = {point.at: point.value for point in rising.points}
    assert by_time[ONSET - timedelta(seconds=20)] == 0
    assert by_time[ONSET + timedelta(seconds=20)] == 2


def test_what_was_always_there_is_no_evidence(side: FarSide) -> None:
    noise = [row(n, "ERROR", f"cannot reach mirror {n}") for n in range(-60, 60, 2)]
    (nothing,) = ask("log_http", side, noise)
    assert nothing.status is EvidenceStatus.NO_DATA
    assert "60 lines read" in nothing.summary


def test_lines_of_others_and_of_other_times_do_not_count(side: FarSide) -> None:
    rows = [row(5, "ERROR", "x", service="bank"), row(500, "ERROR", "x"), row(-500, "ERROR", "x")]
    (nothing,) = ask("log_http", side, rows)
    assert nothing.status is EvidenceStatus.NO_DATA
    assert nothing.title == "No log lines"


def test_a_log_that_gave_all_it_may_give_is_judged_from_its_first_line(side: FarSide) -> None:
    rows = [row(n / 10, "ERROR", "slow") for n in range(-20, 600)]  # ten a second, before and since
    (nothing,) = ask("log_http", side, rows, limit=len(rows))
    assert nothing.status is EvidenceStatus.NO_DATA
    (rising,) = ask("log_http", side, rows)  # a log that has more room, so nothing was there before
    assert rising.title == "More ERROR: slow"


def test_a_log_that_does_not_reach_back_to_the_onset_calls_nothing_new(side: FarSide) -> None:
    rows = [row(10 + n, "ERROR", "slow") for n in range(9)]
    (found,) = ask("log_http", side, rows, limit=len(rows))
    assert found.title == "ERROR: slow"
    assert found.summary == "9 times; the log reaches back no further than 2026-11-20T12:00:10+00:00"


def test_json_lines_and_other_field_names_are_read(side: FarSide) -> None:
    rows = [{"time": ONSET.timestamp() + n, "sev": "error", "msg": "boom", "app": "shop"} for n in range(5)]
    text = "\n".join(["not json", *map(json.dumps, rows)]).encode()
    names = {"time_field": "time", "level_field": "sev", "message_field": "msg", "service_field": "app"}
    (found,) = ask("log_http", side, text, **names)
    assert found.title == "New ERROR: boom"
    assert side.asked[0].query["since"] == ["2026-11-20T11:59:00.000+00:00"]
    assert side.asked[0].query["limit"] == ["5000"]


def deploy(second: float, version: str, previous: str, **more: Any) -> dict[str, Any]:
    at = (ONSET + timedelta(seconds=second)).isoformat()
    return {"id": "d", "at": at, "service": "shop", "version": version, "previous": previous, "author": "ada", **more}


def test_deploys_are_changes_with_version_and_diff(side: FarSide) -> None:
    log = [
        deploy(20, "2.4.0", "2.4.1", rollback_of="d-1"),
        deploy(-5, "2.4.1", "2.4.0", message="faster payments", diff="-TIMEOUT = 800\n+TIMEOUT = 40"),
        deploy(-5, "9", "8", service="bank"),
        deploy(-500, "2.4.0", "2.3.0"),
    ]
    bad, back = ask("changes_http", side, log, link="https://ci.example/{id}?v={version}")
    assert (bad.kind, bad.status, bad.version, bad.previous) == (
        EvidenceKind.CHANGE,
        EvidenceStatus.OK,
        "2.4.1",
        "2.4.0",
    )
    assert bad.at == ONSET - timedelta(seconds=5)
    assert bad.lines == ("-TIMEOUT = 800", "+TIMEOUT = 40")
    assert bad.title == "shop release 2.4.1"
    assert bad.summary == "2.4.1 after 2.4.0 deployed by ada: faster payments"
    assert bad.link == "https://ci.example/d?v=2.4.1"
    assert back.title == "shop rolled back to 2.4.0"
    assert len(ask("changes_http", side, log, lookback_s=600)) == 3


def test_no_deploys_is_an_answer(side: FarSide) -> None:
    (nothing,) = ask("changes_http", side, [])
    assert (nothing.status, nothing.kind) == (EvidenceStatus.NO_DATA, EvidenceKind.CHANGE)


def test_a_flood_of_deploys_keeps_the_newest(side: FarSide) -> None:
    log = [deploy(n, f"1.{n}", "", diff=["x" * 1000] * 100) for n in range(30)]
    found = ask("changes_http", side, log)
    assert [evidence.version for evidence in found] == [f"1.{n}" for n in range(10, 30)]
    assert len(found[0].lines) == 40
    assert len(found[0].lines[0]) == 400


def matrix(*series: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(series)}}


def test_series_are_metrics_with_means_before_and_since(side: FarSide) -> None:
    start = ONSET.timestamp()
    values = [[start - 10, "0"], [start - 5, "NaN"], [start, "+Inf"], [start + 5, "0.5"], [start + 10, "0.7"]]
    answer = matrix({"metric": {"__name__": "e", "path": "/pay"}, "values": values}, {"metric": {}, "values": []})
    queries = {"errors": 'rate(e{service="{service}"}[1m])'}
    (found,) = ask("prometheus_api", side, answer, queries=queries, units={"errors": "1/s"})
    assert found.title == "errors path=/pay"
    assert found.summary == "mean 0 1/s before the onset, mean 0.6 1/s since; 3 samples"
    assert [point.value for point in found.points] == [0, 0.5, 0.7]
    assert found.query == 'rate(e{service="shop"}[1m])'
    (asked,) = side.asked
    assert asked.path == "/api/v1/query_range"
    assert asked.query["query"] == [found.query]
    assert asked.query["step"] == ["1"]


def test_a_metrics_source_without_an_address_is_off(side: FarSide) -> None:
    assert ask("prometheus_api", side, {}, url="") == ()


def test_a_service_whose_name_could_change_the_query_is_not_asked_for(side: FarSide) -> None:
    adapter = EVIDENCE["prometheus_api"]
    config = adapter.config.model_validate({"url": side.url, "queries": {"e": 'e{s="{service}"}'}})
    question = Question('x"} or up{a="', QUESTION.start, QUESTION.onset, QUESTION.end)
    (evidence,) = adapter.build("p", config, Surroundings(root=Path())).gather(question)
    assert evidence.status is EvidenceStatus.ERROR
    assert side.asked == []


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        ("log_http", {"url": "http://logs.example/{since}"}),
        ("changes_http", {"url": "file:///etc/passwd"}),
        ("prometheus_api", {"url": "http://127.0.0.1:1", "units": {"x": "s"}}),
        ("prometheus_api", {"url": "prometheus:9090"}),
    ],
)
def test_a_section_that_cannot_work_is_refused_at_start(kind: str, section: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"address|units"):
        EVIDENCE[kind].config.model_validate(section)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token=abc123 rest", "token=*** rest"),
        ('{"api_key": "abc123"}', '{"api_key": "***"}'),
        ("Authorization: Bearer abc123", "Authorization: Bearer ***"),
        ("DB_PASSWORD=abc123&x=1", "DB_PASSWORD=***&x=1"),
        ("no secrets, 3 tokens left", "no secrets, 3 tokens left"),
        ("two\nlines\x1b[31m", "two lines [31m"),
    ],
)
def test_lines_carry_no_secrets_and_no_control_characters(text: str, shown: str) -> None:
    assert line(text) == shown


@pytest.mark.parametrize("value", [None, "", "x", True, float("nan"), 1e300, [], "2026-11-20T12:00:00+99:99"])
def test_what_is_no_time_is_none(value: object) -> None:
    assert parse_time(value) is None


def test_times_are_utc_whatever_their_form() -> None:
    for value in ("2026-11-20T12:00:00Z", "2026-11-20T13:00:00+01:00", "2026-11-20T12:00:00", ONSET.timestamp()):
        assert parse_time(value) == ONSET
