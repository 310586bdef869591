"""Which log messages are new or rising since the trouble began.

In: log evidence. Out: templates with how often they stood before and after the onset.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus

RISE = 3.0  # times as often as before
_STAMP = re.compile(r"^\W{0,2}(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)\W{0,2}\s*")
_MASKS = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<ip>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)
_TROUBLE = re.compile(
    r"\b(error|fatal|critical|exception|traceback|panic|fail(?:ed|ure|ing|s)?|refused|denied|timed?[ -]?out|timeout|"
    r"unreachable|unavailable|exhausted|expired|cannot|could not|unable|5\d\d)\b",
    re.IGNORECASE,
)
_TIME_KEYS = ("time", "ts", "timestamp", "@timestamp", "at")
_TEXT_KEYS = ("message", "msg", "event", "error", "exception", "reason", "detail")


@dataclass(frozen=True, slots=True)
class Template:
    """Log messages alike but for their numbers and ids.

    Attributes:
        text: the message with its variable parts masked.
        sample: one message of it since the onset, as it stood.
        before: how often it stood before the onset.
        after: how often since.
        troubled: it speaks of an error.
    """

    evidence: str
    text: str
    sample: str
    before: int
    after: int
    troubled: bool

    @property
    def new(self) -> bool:
        """Never seen before the onset."""
        return self.before == 0


def templates(evidence: Sequence[Evidence], onset: datetime) -> tuple[Template, ...]:
    """Every template of the log evidence, most telling first.

    A line without a time of its own counts as after the onset when it speaks of an error, as its source chose it for
    that; else it has the time of its evidence.

    Args:
        onset: beginning of the trouble, aware.
    """
    counts: dict[str, list[int]] = {}
    samples: dict[str, tuple[str, str]] = {}
    for item in evidence:
        if item.kind is not EvidenceKind.LOG or item.status is not EvidenceStatus.OK:
            continue
        for line in item.lines:
            at, message = read(line)
            if not message:
                continue
            template = mask(message)
            if at is None and _TROUBLE.search(template):
                after = True
            else:
                moment = at or item.at
                after = moment is None or moment >= onset - timedelta(seconds=1)
            counts.setdefault(template, [0, 0])[1 if after else 0] += 1
            if after or template not in samples:
                samples.setdefault(template, (item.id, message))
    found = [
        Template(samples[text][0], text, samples[text][1], before, after, _TROUBLE.search(text) is not None)
        for text, (before, after) in counts.items()
    ]
    return tuple(sorted(found, key=lambda t: (not t.troubled, not t.new, -t.after, t.text)))


def telling(found: Sequence[Template]) -> tuple[Template, ...]:
    """Templates that are new since the onset, or rose by ``RISE``."""
    return tuple(t for t in found if t.after and (t.new or t.after >= RISE * t.before))


def mask(message: str) -> str:
    """The message with ids, addresses and numbers replaced."""
    for pattern, name in _MASKS:
        message = pattern.sub(name, message)
    return message


def read(line: str) -> tuple[datetime | None, str]:
    """Time and message of a log line, plain or JSON; a line nobody can read is its own message."""
    line = line.strip()[:2000]
    if line.startswith("{"):
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            data = None
        if isinstance(data, dict):
            at = next((_moment(str(data[key])) for key in _TIME_KEYS if key in data), None)
            words = [str(data[key]) for key in ("level", "severity") if key in data]
            words += [str(data[key]) for key in _TEXT_KEYS if key in data]
            words += [f"{k}={v}" for k, v in sorted(data.items()) if type(v) in (int, float) and k not in _TIME_KEYS]
            return at, " ".join(words) or line
    match = _STAMP.match(line)
    return (_moment(match.group(1)), line[match.end() :]) if match else (None, line)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace(",", ".").strip())
    except ValueError:
        pass
    else:
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        seconds = float(text)
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
