"""Who is about to touch the outside for which event.

In: an event and the invocation that works on it. Out: permission, and whether it may be a repeat (rules H2 and H3).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.model.errors import Reason, TransientError
from shared.model.event import Event
from shared.ports.store import Insert, Store, Upsert
from shared.records import incidents

MARGIN = timedelta(minutes=1)
DONE = "done"


def claim(store: Store, event: Event, owner: str, timeout: timedelta, now: datetime) -> bool | None:
    """Write the intent, or take it over.

    Args:
        owner: this invocation.
        timeout: the function time-out; the lease lasts a minute longer.

    Returns:
        Whether an earlier attempt may have reached the outside; ``None`` when the event was worked off before.

    Raises:
        TransientError: somebody works on it right now; ``retry_after`` reaches to the end of that lease.
    """
    until = now + timeout + MARGIN
    if incidents.write_intent(store, event.subject, event.id, owner, until, "started", None):
        return False
    intent = incidents.intent_of(store, event.subject, event.id)
    if intent is None:
        raise TransientError("the intent went away", Reason.CONFLICT)
    if intent.state == DONE or incidents.done(store, event):
        return None
    if intent.state == "started" and intent.lease_until > now:
        raise TransientError("another invocation works on it", Reason.CONFLICT, intent.lease_until - now)
    if not incidents.write_intent(store, event.subject, event.id, owner, until, "started", intent.etag):
        raise TransientError("another invocation took it over", Reason.CONFLICT)
    return intent.state != "not_sent"


def started_row(event: Event, owner: str, timeout: timedelta, now: datetime) -> Insert:
    """The intent of an event that the invocation which commits it works off itself; see `claim` for the arguments."""
    return Insert(
        incidents.INTENT + event.id, {"owner": owner, "lease_until": now + timeout + MARGIN, "state": "started"}
    )


def done_row(event: Event, now: datetime) -> Upsert:
    """What the commit of an event with effects makes of its intent, so that nobody claims it again."""
    return Upsert(incidents.INTENT + event.id, {"owner": "", "lease_until": now, "state": DONE})


def begun(store: Store, event: Event) -> bool:
    """Whether an attempt of this event may have reached the outside."""
    intent = incidents.intent_of(store, event.subject, event.id)
    return intent is not None and intent.state != "not_sent"


def give_back(store: Store, event: Event, owner: str, not_sent: bool, now: datetime) -> None:
    """After a failure: say whether the effect certainly did not happen, and end the lease."""
    intent = incidents.intent_of(store, event.subject, event.id)
    if intent is not None and intent.owner == owner:
        state = "not_sent" if not_sent else "unknown"
        incidents.write_intent(store, event.subject, event.id, owner, now, state, intent.etag)
