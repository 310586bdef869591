"""Azure Monitor's webhooks: the common alert schema, and what came before it.

In: an action group's webhook body, or several in a list. Out: one alert signal per alert.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import Field

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.sources import azure_context, azure_legacy, reading
from shared.adapters.sources.azure_shape import Found
from shared.adapters.sources.owners import Owners, last_part
from shared.config.schema import Section
from shared.model.event import derive_id
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports.source import Delivery, Source

_ENDED = frozenset({"resolved", "deactivated", "closed"})
_WORDS = {"critical": "0", "error": "1", "warning": "2", "informational": "3", "information": "3", "verbose": "4"}
_TIMES = frozenset(
    {
        "fireddatetime",
        "resolveddatetime",
        "startdatetime",
        "timestamp",
        "eventtimestamp",
        "windowendtime",
        "searchintervalendtimeutc",
    }
)
# Names nobody would call a service: a subscription or resource group as a whole, and the place logs are kept.
_TOO_WIDE = re.compile(
    r"/subscriptions/[^/]+(/resourcegroups/[^/]+)?|.*/microsoft\.operationalinsights/workspaces/[^/]+", re.IGNORECASE
)


class Config(Section):
    """Settings of the Azure Monitor source."""

    service_properties: list[str] = Field(
        default_factory=lambda: ["service", "app", "application"],
        description="Custom properties of alert rules that name the service, the first that is there wins.",
    )
    default_severity: Severity = Field(
        default=Severity.SEV3, description="Severity of alerts that carry none, such as classic ones."
    )


class AzureMonitorSource:
    """A `Source` for every shape Azure Monitor has sent since 2015."""

    def __init__(self, name: str, config: Config, owners: Owners) -> None:
        self._name = name
        self._config = config
        self._owners = owners

    def parse(self, delivery: Delivery) -> tuple[Signal, ...]:
        """See the port; in a list, what is not understood becomes a signal that says so."""
        bodies = _bodies(delivery.body)
        found = [read(body) for body in bodies]
        if not any(found):
            return ()
        return tuple(
            self._signal(one, delivery, position) if one else self._odd(body, delivery, position)
            for position, (one, body) in enumerate(zip(found, bodies, strict=True))
        )

    def receipt(self, body: object, headers: Mapping[str, str], digest: str, received_at: datetime) -> str:
        """See the port."""
        return digest if reading.carries_time(body, _TIMES) else f"{digest}@{received_at.isoformat()}"

    def _signal(self, found: Found, delivery: Delivery, position: int) -> Signal:
        named = [reading.text(reading.pick(found.custom, name)) for name in self._config.service_properties]
        service, resource = self._whose([name for name in named if name], found)
        fired, over, seen = (
            reading.not_ahead(at, delivery.received_at) for at in (found.fired_at, found.resolved_at, found.seen_at)
        )
        if found.status is Status.RESOLVED:
            at = over or delivery.received_at
            at = (
                max(at, fired) if fired else at
            )  # clocks of two Azure services differ; an end is never before its start
        else:
            at = fired or seen or delivery.received_at
        return Signal(
            id=derive_id(self._name, delivery.receipt, str(position)),
            source=self._name,
            kind=SignalKind.ALERT,
            name=found.name,
            at=at,
            service=service,
            environment=self._owners.environment(service),
            resource=resource,
            labels=reading.labels(found.labels, found.custom),
            fingerprint=hashlib.sha256("\x1f".join(found.identity).lower().encode()).hexdigest()[:32],
            severity=severity(found.severity) or found.usual_severity or self._config.default_severity,
            status=found.status,
            starts_at=fired or (at if found.status is Status.FIRING else None),
            summary=found.summary or found.name,
            description=found.description,
            value=found.value,
            unit=found.unit,
            link=reading.link(*found.links, _portal(resource)),
            payload=delivery.payload,
        )

    def _whose(self, named: Sequence[str], found: Found) -> tuple[str, str]:
        """The service and the resource: a configured service if any name leads to one, else the most telling name."""
        everything = (*named, *found.targets, *found.items, *found.related)
        resource = next(iter((*found.targets, *found.items, *found.related)), "")
        telling = [target for target in found.targets if not _TOO_WIDE.fullmatch(target)]
        guesses = (*named, *telling, *found.items, *found.related, *found.targets)
        return self._owners.find(everything) or last_part(next(iter(guesses), "")), resource

    def _odd(self, body: object, delivery: Delivery, position: int) -> Signal:
        return Signal(
            id=derive_id(self._name, delivery.receipt, str(position)),
            source=self._name,
            kind=SignalKind.ALERT,
            name="unrecognised alert",
            at=delivery.received_at,
            fingerprint=derive_id(self._name, reading.raw(body)),
            severity=Severity.SEV4,
            status=Status.FIRING,
            starts_at=delivery.received_at,
            summary="Azure Monitor sent something nobody here understands",
            description=reading.raw(body),
            payload=delivery.payload,
            recognised=False,
        )


def _bodies(body: object) -> list[Any]:
    """The single alerts of a body; Event Grid and event hubs deliver lists."""
    body = reading.unwrapped(body)
    return [reading.unwrapped(one) for one in body] if isinstance(body, list) else [body]


def read(body: object) -> Found | None:
    """What one body says, or ``None`` when it is of no known shape."""
    for outer in _layers(reading.obj(body)):
        essentials = reading.obj(reading.pick(outer, "essentials"))
        if essentials:
            return _common(essentials, outer)
        legacy = azure_legacy.read(outer)
        if legacy:
            return legacy
    return None


def _layers(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The body, and what relays and Event Grid wrap around it."""
    data = reading.obj(reading.pick(body, "data"))
    yield from (layer for layer in (data, body) if layer)
    for name in ("body", "payload", "properties", "alert"):
        for outer in (body, data):
            inner = reading.obj(reading.pick(outer, name))
            deeper = reading.obj(reading.pick(inner, "data"))
            yield from (layer for layer in (deeper, inner) if layer)


def _common(essentials: Mapping[str, Any], outer: Mapping[str, Any]) -> Found:
    context = reading.obj(reading.pick(outer, "alertContext", "context"))
    story = azure_context.read(context)
    alert_id = reading.text(reading.pick(essentials, "alertId", "id"), 1000)
    origin = reading.text(reading.pick(essentials, "originAlertId", "sourceCreatedId"), 1000)
    targets = _texts(reading.pick(essentials, "alertTargetIDs", "targetResource"))
    configuration_items = _texts(reading.pick(essentials, "configurationItems", "targetResourceName"))
    rule = last_part(reading.text(reading.pick(essentials, "alertRule", "alertRuleName")))
    service_kind = reading.text(reading.pick(essentials, "monitoringService", "monitorService"))
    condition = reading.text(reading.pick(essentials, "monitorCondition")).lower()
    name = rule or story.name or last_part(reading.text(alert_id)) or service_kind or "Azure Monitor alert"
    description = reading.plain(reading.pick(essentials, "description"))
    return Found(
        name=name,
        status=Status.RESOLVED if condition in _ENDED else Status.FIRING,
        identity=_identity(alert_id, origin, (name, *sorted(targets)), story.identity),
        severity=reading.text(reading.pick(essentials, "severity")),
        usual_severity=Severity.SEV4 if service_kind.lower().startswith("cost") else None,
        fired_at=reading.moment(reading.pick(essentials, "firedDateTime", "startDateTime")) or story.at,
        resolved_at=reading.moment(reading.pick(essentials, "resolvedDateTime", "monitorConditionResolvedDateTime")),
        targets=targets,
        items=(*configuration_items, *story.items),
        related=story.related,
        labels={
            "signal_type": reading.pick(essentials, "signalType"),
            "monitoring_service": service_kind,
            **story.labels,
        },
        custom={**story.custom, **reading.obj(reading.pick(outer, "customProperties"))},
        summary=_summary(name, story.summary, description),
        description=reading.text("\n\n".join(filter(None, (description, story.description))), 4000),
        value=story.value,
        unit=story.unit,
        links=(reading.pick(essentials, "investigationLink"), *story.links),
    )


def _identity(alert_id: str, origin: str, rule: tuple[str, ...], story: tuple[str, ...]) -> tuple[str, ...]:
    """What firing and resolve of one alert have in common and no other alert has.

    An id of Alerts Management is one alert's own; rule and targets stand beside it because test alerts reuse ids. Any
    other ``alertId`` is the rule's, which fires for many targets and dimensions.
    """
    if "/microsoft.alertsmanagement/alerts/" in alert_id.lower():
        return (alert_id, *rule)
    if origin and not alert_id:
        return (origin, *rule)
    return (alert_id, *rule, *story)


def _summary(name: str, story: str, description: str) -> str:
    first_line = description.split("\n", 1)[0]
    words = story or first_line or name
    return reading.text(words, reading.MAX_TITLE_CHARS)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(filter(None, (reading.text(one, 1000) for one in reading.items(value)[:50])))


def severity(words: str) -> Severity | None:
    """Azure's severity: ``Sev2``, ``2`` or ``Warning``; ``None`` when it says nothing of the kind."""
    digit = _WORDS.get(words.lower(), words.lower().removeprefix("sev").removeprefix("erity").strip(" -:"))
    return Severity(f"sev{digit}") if digit in ("0", "1", "2", "3", "4") else None


def _portal(resource: str) -> str:
    return (
        f"https://portal.azure.com/#resource{quote(resource)}" if resource.lower().startswith("/subscriptions/") else ""
    )


def _build(name: str, config: Config, surroundings: Surroundings) -> Source:
    return AzureMonitorSource(name, config, Owners(surroundings.services))


ADAPTER: Adapter[Source] = Adapter(config=Config, build=_build)
