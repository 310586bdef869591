"""The life of an incident as one table.

In: a state and an event. Out: the next state, or nothing when the event does not apply.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    INVESTIGATING = "investigating"
    AWAITING_APPROVAL = "awaiting_approval"
    EXECUTING = "executing"
    VERIFYING = "verifying"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Moment(StrEnum):
    """What can happen to it."""

    INVESTIGATION_STARTED = "investigation_started"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVED = "approved"
    NOT_APPROVED = "not_approved"
    EXECUTED = "executed"
    NOT_EXECUTED = "not_executed"
    RECOVERED = "recovered"
    REOPENED = "reopened"
    ESCALATED = "escalated"
    CANCELLED = "cancelled"
    CLOSED = "closed"


_S, _M = State, Moment
_ENDINGS = {_M.RECOVERED: _S.RESOLVED, _M.CLOSED: _S.CLOSED, _M.CANCELLED: _S.CLOSED}

TRANSITIONS: Mapping[State, Mapping[Moment, State]] = {
    _S.OPEN: {
        _M.INVESTIGATION_STARTED: _S.INVESTIGATING,
        _M.APPROVAL_REQUESTED: _S.AWAITING_APPROVAL,
        _M.APPROVED: _S.EXECUTING,
        _M.ESCALATED: _S.OPEN,
        **_ENDINGS,
    },
    _S.INVESTIGATING: {
        _M.INVESTIGATION_STARTED: _S.INVESTIGATING,
        _M.APPROVAL_REQUESTED: _S.AWAITING_APPROVAL,
        _M.APPROVED: _S.EXECUTING,
        _M.ESCALATED: _S.INVESTIGATING,
        **_ENDINGS,
    },
    _S.AWAITING_APPROVAL: {
        _M.APPROVED: _S.EXECUTING,
        _M.NOT_APPROVED: _S.INVESTIGATING,
        _M.ESCALATED: _S.AWAITING_APPROVAL,
        **_ENDINGS,
    },
    _S.EXECUTING: {
        _M.EXECUTED: _S.VERIFYING,
        _M.NOT_EXECUTED: _S.INVESTIGATING,
        _M.ESCALATED: _S.EXECUTING,
        **_ENDINGS,
    },
    _S.VERIFYING: {
        _M.APPROVAL_REQUESTED: _S.AWAITING_APPROVAL,
        _M.NOT_EXECUTED: _S.INVESTIGATING,
        _M.ESCALATED: _S.INVESTIGATING,
        **_ENDINGS,
    },
    _S.RESOLVED: {
        _M.REOPENED: _S.INVESTIGATING,
        _M.CLOSED: _S.CLOSED,
        _M.CANCELLED: _S.CLOSED,
    },
    _S.CLOSED: {
        _M.REOPENED: _S.INVESTIGATING,
    },
}


def follow(state: State, moment: Moment) -> State | None:
    """The next state, or ``None`` when this moment changes nothing here (rule H5)."""
    return TRANSITIONS[state].get(moment)


def diagram() -> str:
    """The table as a Mermaid state diagram, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.OPEN}"]
    for state, moments in TRANSITIONS.items():
        lines += [f"    {state} --> {target}: {moment}" for moment, target in moments.items()]
    lines.append(f"    {State.CLOSED} --> [*]")
    return "\n".join(lines) + "\n"
