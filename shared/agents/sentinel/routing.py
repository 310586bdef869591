"""What one alert means for its group; values in, values out (rules S3, S5 to S8, C2).

In: an alert, the group's claim, and the newest known state of the alert. Out: what to send, what to remember, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from shared.agents.sentinel.grouping import Listing
from shared.model.alert import Alert
from shared.model.signal import Status
from shared.records.groups import Claim, GroupState, Member, member_of, rank


@dataclass(frozen=True, slots=True)
class Join:
    """An alert for the group's incident.

    Attributes:
        settles: the alert was over before the incident could hear of it; its own event, beside the firing's.
    """

    alert: Alert
    settles: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with one alert, in this order: claim or wait, send, write the member, list.

    Attributes:
        what: a few words in the past tense.
        claim: the group needs a new generation; look again afterwards.
        wait: the group is closing; the alert comes again later.
        create: send the creation event, which somebody may not have sent.
        member: state to write before anything is listed.
        line: alert as it should be listed; ``None`` for what says nothing new.
        repeat: count it.
        inside: it belongs to the group's incident.
    """

    what: str
    reason: str
    claim: bool = False
    wait: bool = False
    create: bool = False
    join: Join | None = None
    member: Member | None = None
    line: Alert | None = None
    repeat: bool = False
    inside: bool = False


def decide(
    alert: Alert,
    group: GroupState | None,
    known: Member | None,
    listed: Listing | None,
    now: datetime,
    received: datetime,
) -> Step:
    """What an alert means.

    Args:
        group: the claim; ``None`` when the group never had one.
        known: newest known state of this alert.
        listed: why a firing of it would open no incident; ``None`` when it would.
        received: when ARGUS was told of it, which is long ago for a message that comes again.
    """
    if alert.status is Status.RESOLVED:
        step = _resolved(alert, group, known, now)
    else:
        step = _firing(alert, group, known, listed, now, received)
    # Whoever meets a claim sends its creation: the one who wrote it may have died before (rule S3).
    claiming = group is not None and group.state is Claim.CLAIMING
    return replace(step, create=True) if claiming else step


def _firing(
    alert: Alert,
    group: GroupState | None,
    known: Member | None,
    listed: Listing | None,
    now: datetime,
    received: datetime,
) -> Step:
    inside = group is not None and known is not None and known.generation == group.generation
    if known is not None and known.status is Status.RESOLVED and rank(alert) <= rank(known):
        return _over(alert, group, known, listed, inside)
    if known is not None and known.status is Status.FIRING and _older(alert, known):
        ended = max(alert.at, known.starts_at)  # a later firing began, so this one is over
        line = replace(alert, status=Status.RESOLVED, at=ended) if known.starts_at != alert.starts_at else None
        return Step("recorded", "a newer state of this alert is known (rule S7)", line=line, inside=inside)
    if group is not None and known is not None and _before_the_end(alert, group, known, received):
        return Step("recorded", "its incident knew it and has ended since (rule C2)", inside=inside)
    if group is None or group.state is Claim.CLOSED:
        if listed is not None:
            return Step(listed.what, listed.why, line=alert)
        return Step("claimed", "a new incident begins", claim=True)
    if listed is not None and not inside:
        near = f"{listed.why}; incident {group.incident_id} of its group is {group.state}"
        return Step(listed.what, near, line=alert)
    if group.state is Claim.CLOSING:
        return Step("scheduled again", "its group is closing (rule C2)", wait=True)
    member = member_of(alert, group.generation, now)
    if inside and known is not None and known.status is Status.FIRING and _same_firing(alert, known):
        return replace(_said_again(alert, group, known), repeat=True)
    if _begins(alert, group):
        return Step("opened", _opens(group), create=True, member=member, line=alert)
    why = "it fires again" if inside else _joins(group)
    return Step("joined", why, join=Join(alert), member=member, line=alert, inside=inside)


def _said_again(alert: Alert, group: GroupState, known: Member) -> Step:
    """A repeat; one of the very signal that is known says again what was said then (rule S5)."""
    if alert.signal_id != known.signal_id:
        return Step("folded", "it repeats a firing that is known (rule S6)", inside=True)
    if _begins(alert, group) and group.reopened == 0:
        return Step("folded", _opens(group), create=True, line=alert, inside=True)
    return Step("folded", _joins(group), join=Join(alert), line=alert, inside=True)


def _opens(group: GroupState) -> str:
    return f"first alert of its group {group.group_key!r}"


def _joins(group: GroupState) -> str:
    return f"same group {group.group_key!r}"


def _over(alert: Alert, group: GroupState | None, known: Member, listed: Listing | None, inside: bool) -> Step:
    """A firing that arrives after its own end.

    A tombstone in a live group means that an earlier delivery of this firing may have reached the incident before its
    resolve came by unknown: the incident is told that it is over.
    """
    over = replace(alert, status=Status.RESOLVED, at=known.at)
    reason = "it had resolved before it arrived (rule S7)"
    if group is None or not group.live or inside or known.generation > 0 or listed is not None:
        return Step("recorded resolved", reason, line=over, inside=inside)
    member = replace(known, generation=group.generation)
    return Step("recorded resolved", reason, join=Join(over, settles=True), member=member, line=over, inside=True)


def _resolved(alert: Alert, group: GroupState | None, known: Member | None, now: datetime) -> Step:
    live = group is not None and group.live
    inside = group is not None and known is not None and known.generation == group.generation
    if known is not None and known.status is Status.FIRING and known.starts_at < alert.at <= alert.starts_at:
        alert = replace(alert, starts_at=known.starts_at)  # its source does not say when it began
    if known is not None and rank(alert) < rank(known):
        ended = alert if alert.starts_at < alert.at else None  # the firing it ends has a line of its own in the list
        return Step("recorded", "a newer state of this alert is known (rule S7)", line=ended, inside=inside)
    if known is not None and rank(alert) == rank(known):
        again = Join(alert) if live and inside and alert.signal_id == known.signal_id else None
        return Step("recorded resolved", "known already", join=again, line=alert, inside=inside)
    if group is not None and inside and live:
        member = member_of(alert, group.generation, now)
        return Step("resolved", "resolved at its source", join=Join(alert), member=member, line=alert, inside=True)
    if group is not None and inside and group.state is Claim.CLOSING:
        return Step("scheduled again", "its group is closing (rule C2)", wait=True)
    kept = group.generation if group is not None and inside else 0
    reason = (
        "its incident is closed" if inside else "no incident knows it; kept in case its firing comes later (rule S7)"
    )
    return Step("recorded resolved", reason, member=member_of(alert, kept, now), line=alert, inside=inside)


def _begins(alert: Alert, group: GroupState) -> bool:
    first = group.creator
    return (first.signal_id, first.fingerprint, first.at) == (alert.signal_id, alert.fingerprint, alert.at)


def _before_the_end(alert: Alert, group: GroupState, known: Member, received: datetime) -> bool:
    """A repeat that was received before the incident it repeats in began to close, and is worked off after its end.

    That incident was sent the firing, because a member is written after its message (rule S5); so this says nothing
    new. What bounced off the end comes as a message of its own, received after it.
    """
    if known.status is not Status.FIRING or not _same_firing(alert, known):
        return False
    if known.generation == group.generation:
        ended_at = group.closing_at if group.state is Claim.CLOSED else None
    else:
        ended_at = group.ended_at
    return ended_at is not None and received <= ended_at


def _same_firing(alert: Alert, known: Member) -> bool:
    return (alert.starts_at, alert.severity) == (known.starts_at, known.severity)


def _older(alert: Alert, known: Member) -> bool:
    """An earlier state; an earlier repeat of the same firing is only a repeat."""
    return rank(alert) < rank(known) and not _same_firing(alert, known)
