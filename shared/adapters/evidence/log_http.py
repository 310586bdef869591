"""Log lines over HTTP: which kinds of error lines are new or more frequent since the trouble began.

In: a question and a log that answers with JSON. Out: one evidence per kind of line, worst first.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.evidence import content
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus, Point
from shared.model.errors import PermanentError, TransientError
from shared.ports.evidence import Question

MAX_KINDS = 10
MAX_SAMPLES = 20
MAX_POINTS = 120
RISING = 2.0  # times the rate before
MAX_MESSAGE_CHARS = 1000


class LogConfig(Section):
    """A log that can be read over HTTP as a JSON list or as JSON lines."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(description="Address, with `{since}` (ISO 8601) and, if it takes one, `{limit}`.")
    token: SecretStr = Field(default=SecretStr(""), description="Sent as a bearer; empty for none.")
    service: str = Field(default="", description="Only asked for this service; empty for every service.")
    limit: int = Field(default=5000, ge=1, le=20_000, description="Most lines to ask for.")
    time_field: str = Field(default="ts", description="Field with the time, ISO 8601 or seconds since 1970.")
    level_field: str = Field(default="level", description="Field with the level.")
    message_field: str = Field(default="message", description="Field with the message.")
    service_field: str = Field(default="service", description="Field with the service; lines of others are left out.")
    levels: tuple[str, ...] = Field(
        default=("WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"), description="Levels that count as trouble."
    )
    link: str = Field(default="", description="Address of the log for people, with `{since}`.")
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for the log, in seconds.")

    @model_validator(mode="after")
    def _address(self) -> LogConfig:
        problem = http.address_problem(self.url)
        if problem:
            raise ValueError(problem)
        return self


@dataclass(frozen=True, slots=True)
class _Line:
    at: datetime
    level: str
    message: str
    text: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """Lines of one level and one template; ``before`` and ``since`` are split at the onset, oldest first."""

    level: str
    template: str
    before: tuple[_Line, ...]
    since: tuple[_Line, ...]


class LogSource:
    """Reads one log."""

    kind = EvidenceKind.LOG

    def __init__(self, name: str, config: LogConfig) -> None:
        self._name = name
        self._config = config
        self._http = http.client(config.timeout_s)

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """New and rising kinds of lines; see the port `shared.ports.evidence`."""
        config = self._config
        if config.service and config.service != question.service:
            return ()
        since = question.start.astimezone(UTC).isoformat(timespec="milliseconds")
        url = content.fill(config.url, since=since, limit=str(config.limit))
        query = content.shown(url)
        try:
            answer = content.fetch(self._http, f"log {self._name}", url, config.token, config.timeout_s)
        except (TransientError, PermanentError) as failure:
            return (self._nothing(query, "Log not readable", str(failure), EvidenceStatus.ERROR),)
        if not isinstance(answer, list):
            words = "the answer is neither a JSON list nor JSON lines"
            return (self._nothing(query, "Log not readable", words, EvidenceStatus.ERROR),)
        lines = self._lines(answer, question)
        if not lines:
            return (self._nothing(query, "No log lines", f"no lines of {question.service} in the window"),)
        # A log that gave all it may give has probably dropped the oldest part of the baseline.
        start = lines[0].at if len(answer) >= config.limit else question.start
        found = worst(lines, start, question.onset, question.end, frozenset(map(str.upper, config.levels)))
        if not found:
            words = f"{len(lines)} lines read; no kind of trouble is new or more frequent since the onset"
            return (self._nothing(query, "No unusual log lines", words),)
        link = content.fill(config.link, since=since)
        return tuple(_evidence(kind, self._name, query, link, start, question) for kind in found[:MAX_KINDS])

    def _nothing(
        self, query: str, title: str, summary: str, status: EvidenceStatus = EvidenceStatus.NO_DATA
    ) -> Evidence:
        return content.empty(EvidenceKind.LOG, self._name, query, title, summary, status)

    def _lines(self, rows: Sequence[Any], question: Question) -> list[_Line]:
        lines = []
        for row in rows[: self._config.limit]:
            at = content.parse_time(row.get(self._config.time_field)) if isinstance(row, dict) else None
            if at is None or not question.start <= at <= question.end:
                continue
            if str(row.get(self._config.service_field, question.service)) != question.service:
                continue
            level = str(row.get(self._config.level_field, "")).upper()[:20]
            message = str(row.get(self._config.message_field, ""))[:MAX_MESSAGE_CHARS]
            lines.append(_Line(at, level, message, self._text(row, at, level, message)))
        return sorted(lines, key=lambda line: line.at)

    def _text(self, row: dict[str, Any], at: datetime, level: str, message: str) -> str:
        config = self._config
        known = {config.time_field, config.level_field, config.message_field, config.service_field}
        rest = [
            f"{name}={value}"
            for name, value in row.items()
            if name not in known and isinstance(value, str | int | float) and value != ""
        ]
        return content.line(" ".join([at.isoformat(timespec="milliseconds"), level, message, *rest]))


def worst(
    lines: Sequence[_Line], start: datetime, onset: datetime, end: datetime, levels: frozenset[str]
) -> list[_Kind]:
    """Kinds of trouble that are new or rising since the onset, the most surprising first.

    Args:
        lines: oldest first.
        start: from when on lines were kept.

    Returns:
        Kinds whose count since the onset is at least ``RISING`` times what the time before lets expect, and beyond
        two standard deviations of it (a Poisson count; 1 is added so that nothing before is not certainty).
    """
    before_s = max(1.0, (onset - start).total_seconds())
    since_s = max(1.0, (end - onset).total_seconds())

    def surprise(kind: _Kind) -> float:
        expected = len(kind.before) / before_s * since_s
        if not kind.since or len(kind.since) < RISING * expected:
            return 0.0
        return (len(kind.since) - expected) / math.sqrt(expected + 1)

    kinds = _kinds([line for line in lines if line.level in levels], onset)
    rated = [(surprise(kind), kind) for kind in kinds]
    chosen = [(score, kind) for score, kind in rated if score > 2 or (score > 0 and not kind.before)]
    return [kind for _, kind in sorted(chosen, key=lambda pair: (-pair[0], pair[1].level, pair[1].template))]


def _kinds(lines: Sequence[_Line], onset: datetime) -> list[_Kind]:
    """Lines grouped by level and by the template Drain finds in their messages.

    Source: P. He et al., "Drain: An Online Log Parsing Approach with Fixed Depth Tree", ICWS 2017; package drain3.
    """
    from drain3 import TemplateMiner
    from drain3.masking import MaskingInstruction
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.drain_max_clusters = 500
    config.masking_instructions = [
        MaskingInstruction(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", "uuid"),
        MaskingInstruction(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b", "hex"),
        MaskingInstruction(r"(?<![A-Za-z])\d+(?:\.\d+)*", "num"),
    ]
    miner = TemplateMiner(config=config)
    groups: dict[tuple[str, int], list[_Line]] = defaultdict(list)
    templates: dict[int, str] = {}
    for line in lines:
        found = miner.add_log_message(line.message or "(no message)")
        groups[line.level, found["cluster_id"]].append(line)
        templates[found["cluster_id"]] = found["template_mined"]
    return [
        _Kind(
            level,
            content.line(templates[cluster]),
            tuple(line for line in members if line.at < onset),
            tuple(line for line in members if line.at >= onset),
        )
        for (level, cluster), members in groups.items()
    ]


def _evidence(kind: _Kind, name: str, query: str, link: str, start: datetime, question: Question) -> Evidence:
    first = kind.since[0].at
    if start < question.onset:
        name_it = f"{'More' if kind.before else 'New'} {kind.level}"
        before_s = round((question.onset - start).total_seconds())
        summary = (
            f"{len(kind.since)} times since the onset, {len(kind.before)} times in the {before_s} s before; "
            f"first {'since then' if kind.before else 'seen'} at {first.isoformat(timespec='seconds')}"
        )
    else:  # nothing is known about before, so nothing may be called new
        name_it = kind.level
        summary = f"{len(kind.since)} times; the log reaches back no further than {start.isoformat(timespec='seconds')}"
    return content.identify(
        Evidence(
            "",
            EvidenceKind.LOG,
            name,
            query,
            EvidenceStatus.OK,
            f"{name_it}: {kind.template}"[:200],
            summary,
            at=first,
            points=_points([*kind.before, *kind.since], question),
            lines=tuple(line.text for line in kind.since[:MAX_SAMPLES]),
            unit="lines/s",
            link=link,
        )
    )


def _points(lines: Sequence[_Line], question: Question) -> tuple[Point, ...]:
    """Lines per second in equal buckets over the whole window, empty buckets included."""
    span = max(1.0, (question.end - question.start).total_seconds())
    width = max(1, math.ceil(span / MAX_POINTS))
    begin = math.floor(question.start.timestamp() / width) * width
    counts = Counter(math.floor((line.at.timestamp() - begin) / width) for line in lines)
    buckets = math.floor((question.end.timestamp() - begin) / width) + 1
    return tuple(
        Point(datetime.fromtimestamp(begin + index * width, UTC), counts[index] / width) for index in range(buckets)
    )


def build(name: str, config: LogConfig, surroundings: Surroundings) -> LogSource:
    """The evidence source of one section."""
    return LogSource(name, config)
