"""A log line is one JSON object that says whose work it was."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from shared.adapters.telemetry import hop_log, json_log
from shared.dispatch.showing import show
from shared.model.pipeline import MicroAgent
from shared.ports import telemetry


@pytest.fixture
def written() -> Iterator[StringIO]:
    output, logger = StringIO(), logging.getLogger("argus")
    handler = logging.StreamHandler(output)
    handler.setFormatter(json_log.JsonFormatter())
    logger.addHandler(handler)
    before, logger.level = logger.level, logging.INFO
    yield output
    logger.removeHandler(handler)
    logger.setLevel(before)


def _lines(written: StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_hop_names_incident_micro_agent_and_reason(written: StringIO) -> None:
    logging.getLogger("argus.dispatch").setLevel(logging.INFO)
    with telemetry.inside("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        show(MicroAgent.CLOSER, "closed: disk full", "good for 10 s", "incident-1", "closed")
    line = _lines(written)[0]
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO",
        "logger": "argus.dispatch",
        "message": "closer: closed: disk full",
        "micro_agent": "closer",
        "what": "closed: disk full",
        "reason": "good for 10 s",
        "incident": "incident-1",
        "state": "closed",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
    }


def test_an_exception_stays_in_its_line(written: StringIO) -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        logging.getLogger("argus.sweep").exception("failed\non two lines")
    line = _lines(written)[0]
    assert line["message"] == "failed\non two lines"
    assert "ValueError: a\nb" in line["exception"]


def test_every_handler_of_the_process_writes_json(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = logging.StreamHandler(StringIO())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    json_log.use()
    assert isinstance(handler.formatter, json_log.JsonFormatter)


def test_hops_go_into_a_file_once(tmp_path: Path) -> None:
    logger, path = logging.getLogger("argus.dispatch"), tmp_path / "logs" / "hops.jsonl"
    before = list(logger.handlers)
    try:
        hop_log.attach(str(path))
        hop_log.attach(str(path))
        logger.info("not a hop")
        show(MicroAgent.RCA, "cause", "a release", "incident-1")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert [(line["micro_agent"], line["reason"]) for line in lines] == [("rca", "a release")]
    finally:
        for handler in set(logger.handlers) - set(before):
            logger.removeHandler(handler)
            handler.close()


def test_half_a_character_in_a_record_is_written_all_the_same() -> None:
    record = logging.LogRecord("argus", logging.INFO, "file", 1, "half \ud800 and whole \u00fc", (), None)
    assert json.loads(json_log.JsonFormatter().format(record))["message"] == "half \ud800 and whole \u00fc"
