"""What no setting shows alone: names that must stand elsewhere in the file, and secrets that are too short.

In: a parsed file, valid or not. Out: problems in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from shared.config.load import Document
from shared.config.schema import Execution, Host
from shared.config.wording import Place, suggestion
from shared.model.pipeline import PIPELINE, MicroAgent, Queue

MIN_SESSION_SECRET_CHARS = 32
MIN_KEY_CHARS = 16  # senders' keys are guessed over HTTP, not tried against a hash
LEASE_MARGIN_S = 60  # an invocation is ended at its time-out, not to the second
# Signals have no incident to wait in: what takes them in and sorts them runs whatever anybody says.
HOLDABLE = tuple(
    dict.fromkeys(str(name) for stage in PIPELINE if stage.queue is not Queue.SIGNALS for name in stage.chain)
)
_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Where a name is used, the section that must have it, what it is called, and names that are always known.
_USES: tuple[tuple[tuple[str, ...], str, str, tuple[str, ...]], ...] = (
    (("notify", "channels", "*"), "channels", "channel", ()),
    (("notify", "approvals", "*"), "channels", "channel", ()),
    (("notify", "fallback", "*"), "channels", "channel", ()),
    (("self_monitoring", "channels", "*"), "channels", "channel", ()),
    (("knowledge", "publish_to", "*"), "destinations", "destination", ()),
    (("pollers", "*", "service"), "services", "service", ()),
    (("evidence", "*", "service"), "services", "service", ()),
    (("rules", "*", "service"), "services", "service", ()),
    (("routing", "maintenance", "*", "service"), "services", "service", ("*",)),
)


def check(document: Document) -> None:
    """Report names that nothing in the file has, and secrets that anybody could guess."""
    for pattern, section, noun, always in _USES:
        known = {*_names(document.data.get(section)), *always}
        for place, value in _find(document.data, pattern):
            if value and value not in known:
                _report(document, place, f"no such {noun} is configured{suggestion(value, known)}")
    _check_hold(document)
    _check_lease(document)
    _check_sources(document)
    for place, value in _find(document.data, ("portal", "session_secret")):
        if len(value) < MIN_SESSION_SECRET_CHARS:
            _report(document, place, f"must have at least {MIN_SESSION_SECRET_CHARS} characters")


def _check_hold(document: Document) -> None:
    workers = {str(name) for name in MicroAgent}
    for place, value in _find(document.data, ("policy", "hold", "*")):
        if value not in workers:
            _report(document, place, f"no such micro-agent{suggestion(value, workers)}")
        elif value not in HOLDABLE:
            _report(document, place, f"this micro-agent cannot be held; these can: {', '.join(HOLDABLE)}")


def _check_lease(document: Document) -> None:
    """A lease that ends while its action still runs lets a second action at the same target."""
    lease_s = _number(document, "execution", "lease_s", Execution.model_fields["lease_s"].default)
    timeout_s = _number(document, "host", "function_timeout_s", Host.model_fields["function_timeout_s"].default)
    if lease_s < timeout_s + LEASE_MARGIN_S:
        said = _section(document, "execution").get("lease_s") is not None
        place = ("execution", "lease_s") if said else ("host", "function_timeout_s")
        text = f"must be at least host.function_timeout_s + {LEASE_MARGIN_S}, which is {timeout_s + LEASE_MARGIN_S:g}"
        least = f"makes execution.lease_s ({lease_s:g}) too short; it {text}"
        _report(document, place, text if said else least)


def _number(document: Document, section: str, name: str, default: float) -> float:
    """A number as the settings will read it; not a number, of which nothing is said here, when they will not."""
    value = _section(document, section).get(name, default)
    try:
        return float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _section(document: Document, name: str) -> Mapping[str, object]:
    section = document.data.get(name)
    return section if isinstance(section, Mapping) else {}


def _check_sources(document: Document) -> None:
    sources = _names(document.data.get("sources"))
    for name in sources:
        if not _SOURCE_NAME.fullmatch(name):
            what = "the name is part of an address: letters, digits, dots, dashes and underlines only"
            _report(document, ("sources", name), what)
    known = {*sources, "default"}
    portal = document.data.get("portal")
    for name in _names(portal.get("keys")) if isinstance(portal, Mapping) else []:
        if name not in known:
            document.report(("portal", "keys", name), f"no such source is configured{suggestion(name, known)}")
    for place, value in _find(document.data, ("portal", "keys", "*")):
        if value and len(value) < MIN_KEY_CHARS:
            _report(document, place, f"must have at least {MIN_KEY_CHARS} characters")


def _report(document: Document, place: Place, text: str) -> None:
    if place not in document.unset:
        document.report(place, text)


def _names(section: object) -> list[str]:
    return [str(name) for name in section] if isinstance(section, Mapping) else []


def _find(data: object, pattern: tuple[str, ...], place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Texts at every place a pattern fits; ``*`` is any name or position."""
    if not pattern:
        if isinstance(data, str):
            yield place, data
        return
    first, rest = pattern[0], pattern[1:]
    if isinstance(data, Mapping):
        for name in data if first == "*" else (first,):
            yield from _find(data.get(name), rest, (*place, str(name)))
    elif isinstance(data, list) and first == "*":
        for i, inner in enumerate(data):
            yield from _find(inner, rest, (*place, i))
