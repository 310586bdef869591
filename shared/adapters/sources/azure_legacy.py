"""Azure alerts from before the common schema; rules made then still send them.

In: a body, or its ``data``. Out: the alert, or nothing when it is none of these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.adapters.sources import azure_context, reading
from shared.adapters.sources.azure_shape import Found, Story
from shared.adapters.sources.owners import last_part
from shared.model.signal import Severity, Status

_ENDED = frozenset({"resolved", "deactivated", "closed"})


def read(outer: Mapping[str, Any]) -> Found | None:
    """The alert of a classic metric, near-real-time metric, activity log, log search or budget body."""
    context = reading.obj(reading.pick(outer, "context"))
    event = reading.obj(reading.pick(context, "activityLog"))
    if event:
        return _activity(event, outer)
    if context and reading.pick(context, "name", "condition", "conditionType", "resourceId") is not None:
        return _metric(context, outer)
    for candidate in (outer, reading.obj(reading.pick(outer, "alertContext"))):
        story = azure_context.log_search(candidate) or (
            azure_context.budget(candidate)
            if reading.pick(candidate, "NotificationThresholdAmount") is not None
            else None
        )
        if story:
            return _told(story, candidate, outer)
    return None


def _status(outer: Mapping[str, Any]) -> Status:
    return Status.RESOLVED if reading.text(reading.pick(outer, "status")).lower() in _ENDED else Status.FIRING


def _metric(context: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    story = azure_context.criteria(context) or Story()
    rule = reading.text(reading.pick(context, "id"), 1000)
    name = reading.text(reading.pick(context, "name")) or last_part(rule) or story.name or "Azure metric alert"
    target = reading.text(reading.pick(context, "resourceId"), 1000)
    thing = reading.text(reading.pick(context, "resourceName"))
    status = _status(outer)
    at = reading.moment(reading.pick(context, "timestamp"))
    described = reading.plain(reading.pick(context, "description"))
    words = story.summary or described.split("\n", 1)[0] or name
    return Found(
        name=name,
        status=status,
        identity=(rule or name, target or thing, *story.identity),
        severity=reading.text(reading.pick(context, "severity")),
        fired_at=at if status is Status.FIRING else None,
        resolved_at=at if status is Status.RESOLVED else None,
        targets=(target,) if target else (),
        items=(thing,) if thing else (),
        related=story.related,
        labels={
            "monitoring_service": "Metric (classic)",
            "resource_type": reading.pick(context, "resourceType"),
            "region": reading.pick(context, "resourceRegion"),
            **story.labels,
        },
        custom=reading.obj(reading.pick(outer, "properties")),
        summary=reading.text(words, 200),
        description=described or reading.plain(reading.pick(context, "details")),
        value=story.value,
        unit=story.unit,
        links=(reading.pick(context, "portalLink"),),
    )


def _activity(event: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    story = azure_context.activity_log(event) or Story()
    target = reading.text(reading.pick(event, "resourceId"), 1000)
    described = reading.plain(reading.pick(event, "description"))
    return Found(
        name=story.name or "Azure activity log alert",
        status=_status(outer),
        identity=("activity log", target, *story.identity),
        usual_severity=Severity.SEV4,  # what the common schema gives every activity log alert
        fired_at=story.at,
        targets=(target,) if target else (),
        items=story.items,
        related=story.related,
        labels={"monitoring_service": "Activity log", "level": reading.pick(event, "level"), **story.labels},
        custom=reading.obj(reading.pick(outer, "properties")),
        summary=story.summary,
        description=reading.text("\n\n".join(filter(None, (described, story.description))), 4000),
    )


def _told(story: Story, context: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    money = reading.pick(context, "SearchQuery") is None
    return Found(
        name=story.name,
        status=_status(outer),
        identity=(
            "budget" if money else "log search",
            reading.text(reading.pick(context, "SubscriptionId")),
            story.name,
            *story.identity,
        ),
        severity=reading.text(reading.pick(context, "Severity")),
        usual_severity=Severity.SEV4 if money else None,
        fired_at=story.at,
        items=story.items,
        related=story.related,
        labels={"monitoring_service": "Cost" if money else "Log search (classic)", **story.labels},
        custom=story.custom,
        summary=story.summary,
        description=reading.text(
            "\n\n".join(filter(None, (reading.plain(reading.pick(context, "Description")), story.description))), 4000
        ),
        value=story.value,
        unit=story.unit,
        links=story.links,
    )
