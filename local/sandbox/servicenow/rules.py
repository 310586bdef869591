"""The business rules and data policies of an incident, as an instance out of the box has them.

In: a record before a write and the fields written. Out: the record after it, its journal entries, or a refusal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_SHORT_DESCRIPTION_CHARS = 160  # dictionary entry of task.short_description; longer text is cut, not refused

NEW, IN_PROGRESS, ON_HOLD, RESOLVED, CLOSED, CANCELED = "1", "2", "3", "6", "7", "8"
STATE_NAMES = {
    NEW: "New",
    IN_PROGRESS: "In Progress",
    ON_HOLD: "On Hold",
    RESOLVED: "Resolved",
    CLOSED: "Closed",
    CANCELED: "Canceled",
}
WORKING = frozenset({NEW, IN_PROGRESS, ON_HOLD})
TRANSITIONS = {
    NEW: WORKING | {RESOLVED, CLOSED, CANCELED},
    IN_PROGRESS: WORKING | {RESOLVED, CLOSED, CANCELED},
    ON_HOLD: WORKING | {RESOLVED, CLOSED, CANCELED},
    RESOLVED: frozenset({RESOLVED, CLOSED, NEW, IN_PROGRESS}),
    CLOSED: frozenset({NEW, IN_PROGRESS}),
    CANCELED: frozenset[str](),
}

LEVELS = ("1", "2", "3")
# Priority Data Lookup, out of the box: (impact, urgency) to priority.
PRIORITY = {
    ("1", "1"): "1",
    ("1", "2"): "2",
    ("2", "1"): "2",
    ("1", "3"): "3",
    ("2", "2"): "3",
    ("3", "1"): "3",
    ("2", "3"): "4",
    ("3", "2"): "4",
    ("3", "3"): "5",
}
PRIORITY_NAMES = {"1": "1 - Critical", "2": "2 - High", "3": "3 - Moderate", "4": "4 - Low", "5": "5 - Planning"}
LEVEL_NAMES = {"1": "1 - High", "2": "2 - Medium", "3": "3 - Low"}
HOLD_REASONS = {"1": "Awaiting Caller", "3": "Awaiting Problem", "4": "Awaiting Vendor", "5": "Awaiting Change"}
CLOSE_CODES = (
    "Duplicate",
    "User error",
    "Known error",
    "No resolution provided",
    "Resolved by caller",
    "Resolved by change",
    "Resolved by problem",
    "Resolved by request",
    "Solution provided",
    "Workaround provided",
)

JOURNALS = ("work_notes", "comments")
REFERENCES = frozenset(
    {"assignment_group", "assigned_to", "caller_id", "cmdb_ci", "business_service", "problem_id", "rfc", "caused_by"}
    | {"parent_incident", "resolved_by", "closed_by", "opened_by", "kb_knowledge_base", "company", "location"}
)
WRITABLE = (
    *("short_description", "description", "impact", "urgency", "severity", "state", "category", "subcategory"),
    *("assignment_group", "assigned_to", "caller_id", "cmdb_ci", "business_service", "contact_type"),
    *("correlation_id", "correlation_display", "close_code", "close_notes", "hold_reason", "watch_list"),
    *("work_notes_list", "problem_id", "rfc", "caused_by", "parent_incident", "company", "location"),
)
COMPUTED = (
    *("sys_id", "number", "priority", "active", "opened_at", "resolved_at", "closed_at", "resolved_by", "closed_by"),
    *("opened_by", "reopen_count", "sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by"),
    *("sys_mod_count", "sys_class_name", "work_notes", "comments", "incident_state"),
)
INCIDENT_FIELDS = frozenset((*WRITABLE, *COMPUTED))
SYS_ID = re.compile(r"^[0-9a-f]{32}$")


class PolicyError(Exception):
    """A data policy, a choice list or an access rule forbids the write; the text is the vendor's ``detail``."""


@dataclass(frozen=True, slots=True)
class Written:
    """The record after a write, its journal entries as (element, text), and what was silently dropped."""

    record: dict[str, str]
    journal: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def glide_time(at: datetime) -> str:
    """A time as the Table API writes it: UTC, without a zone."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def as_text(value: Any) -> str:
    """A JSON value as the text a column stores; a reference given as an object counts by its value."""
    if isinstance(value, dict):
        value = value.get("value", "")
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def write_incident(before: dict[str, str] | None, fields: dict[str, Any], user: str, now: datetime) -> Written:
    """Apply a write to an incident.

    Args:
        before: the stored record; None for an insert (the caller adds ``sys_id`` and ``number``).
        fields: what was sent.
        user: who sent it.
        now: the time of the write.

    Raises:
        PolicyError: the instance would refuse the write.
    """
    stamp = glide_time(now)
    record = dict(before) if before else _fresh(stamp, user)
    old_state = record["state"]
    notes: list[str] = []
    for name, value in fields.items():
        if name in WRITABLE:
            text = as_text(value)
            if name in REFERENCES and text and not SYS_ID.match(text):
                notes.append(f"{name} dropped: not a sys_id")
                continue
            record[name] = text
        elif name not in JOURNALS:
            notes.append(f"{name} dropped: {'read-only' if name in COMPUTED else 'no such field'}")
    journal = tuple((name, as_text(fields[name])) for name in JOURNALS if as_text(fields.get(name)))
    if before and old_state in (CLOSED, CANCELED) and record["state"] not in TRANSITIONS[old_state]:
        raise PolicyError("ACL Exception Update Failed due to security constraints")
    _check(record, old_state)
    if len(record["short_description"]) > MAX_SHORT_DESCRIPTION_CHARS:
        record["short_description"] = record["short_description"][:MAX_SHORT_DESCRIPTION_CHARS]
        notes.append(f"short_description cut at {MAX_SHORT_DESCRIPTION_CHARS}")
    _follow_state(record, old_state if before else NEW, stamp, user)
    record["priority"] = PRIORITY[record["impact"], record["urgency"]]
    record["incident_state"] = record["state"]
    record["sys_updated_on"], record["sys_updated_by"] = stamp, user
    record["sys_mod_count"] = str(int(record["sys_mod_count"]) + 1) if before else "0"
    return Written(record, journal, tuple(notes))


def _fresh(stamp: str, user: str) -> dict[str, str]:
    record = dict.fromkeys((*WRITABLE, *COMPUTED), "")
    record |= {"impact": "3", "urgency": "3", "severity": "3", "state": NEW, "active": "true", "category": "inquiry"}
    record |= {"reopen_count": "0", "sys_mod_count": "0", "sys_class_name": "incident"}
    record |= {"opened_at": stamp, "sys_created_on": stamp, "sys_created_by": user}
    return record


def _check(record: dict[str, str], old_state: str) -> None:
    if not record["short_description"].strip():
        raise PolicyError("Data Policy Exception: Short description is mandatory")
    for name in ("impact", "urgency", "severity"):
        if record[name] not in LEVELS:
            raise PolicyError(f"Invalid value for {name}: must be 1, 2 or 3")
    state = record["state"]
    if state not in STATE_NAMES:
        raise PolicyError(f"Invalid value for state: must be one of {', '.join(STATE_NAMES)}")
    if state != old_state and state not in TRANSITIONS[old_state]:
        raise PolicyError(f"State {STATE_NAMES[old_state]} cannot become {STATE_NAMES[state]}")
    if state in (RESOLVED, CLOSED):
        labels = {"close_code": "Resolution code", "close_notes": "Resolution notes"}
        missing = [label for name, label in labels.items() if not record[name].strip()]
        if missing:
            raise PolicyError(f"Data Policy Exception: The following fields are mandatory: {', '.join(missing)}")
        if record["close_code"] not in CLOSE_CODES:
            raise PolicyError(f"Invalid value for close_code: must be one of {', '.join(CLOSE_CODES)}")
    if state == ON_HOLD and record["hold_reason"] not in HOLD_REASONS:
        raise PolicyError("Data Policy Exception: The following fields are mandatory: On hold reason (1, 3, 4 or 5)")


def _follow_state(record: dict[str, str], old_state: str, stamp: str, user: str) -> None:
    state = record["state"]
    record["active"] = "false" if state in (CLOSED, CANCELED) else "true"
    if state != ON_HOLD:
        record["hold_reason"] = ""
    if state == old_state:
        return
    if state in (RESOLVED, CLOSED) and not record["resolved_at"]:
        record["resolved_at"], record["resolved_by"] = stamp, user
    if state in (CLOSED, CANCELED):
        record["closed_at"], record["closed_by"] = stamp, user
    if state in WORKING and old_state in (RESOLVED, CLOSED):
        record["reopen_count"] = str(int(record["reopen_count"]) + 1)
        for name in ("resolved_at", "resolved_by", "closed_at", "closed_by"):
            record[name] = ""
