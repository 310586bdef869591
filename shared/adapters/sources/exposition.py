"""Prometheus' text format, version 0.0.4.

In: what a ``/metrics`` page says. Out: its samples, or an error that names the line.

Source: prometheus.io/docs/instrumenting/exposition_formats
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*([,}])')
_END = re.compile(r"[ \t]*}")
_ESCAPED = re.compile(r"\\(.)")
_TIMESTAMP = re.compile(r"[+-]?\d+(\.\d+)?")
_UNESCAPED = {"n": "\n", "\\": "\\", '"': '"'}


class BadExposition(ValueError):
    """A line is not in the format; like Prometheus, the whole page is then worth nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series and its value now; the value may be infinite or not a number."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(page: str) -> Iterator[Sample]:
    """The samples of a page, in its order; timestamps and exemplars are read over.

    Raises:
        BadExposition: the first line that is no sample, comment or blank.
    """
    for number, line in enumerate(page.split("\n"), start=1):
        words = line.strip(" \t\r")
        if words and not words.startswith("#"):
            try:
                yield _sample(words)
            except ValueError as exc:
                raise BadExposition(f"line {number}: {exc}") from None


def _sample(line: str) -> Sample:
    found = _NAME.match(line)
    if not found:
        raise ValueError("a metric name was expected")
    labels, at = _labels(line, found.end())
    fields = line[at:].split("#", 1)[0].split()  # what follows a number sign is an exemplar
    if not 1 <= len(fields) <= 2 or (len(fields) == 2 and not _TIMESTAMP.fullmatch(fields[1])):
        raise ValueError("a value was expected, and at most a timestamp after it")
    if "_" in fields[0]:
        raise ValueError("the value is no number")  # Python would take 1_000, Prometheus does not
    return Sample(found.group(), labels, float(fields[0]))


def _labels(line: str, at: int) -> tuple[dict[str, str], int]:
    start = at + len(line[at:]) - len(line[at:].lstrip(" \t"))
    if line[start : start + 1] != "{":
        return {}, at
    labels: dict[str, str] = {}
    at = start + 1
    while True:
        end = _END.match(line, at)  # also after a trailing comma
        if end:
            return labels, end.end()
        found = _LABEL.match(line, at)
        if not found:
            raise ValueError("the labels are not readable")
        labels[found.group(1)] = _ESCAPED.sub(lambda m: _UNESCAPED.get(m.group(1), m.group()), found.group(2))
        at = found.end()
        if found.group(3) == "}":
            return labels, at
