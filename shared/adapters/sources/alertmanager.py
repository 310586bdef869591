"""Alertmanager's webhook, and the plain list of alerts that Prometheus posts to an Alertmanager.

In: a webhook body with ``alerts``, a list of alerts, or one alert. Out: one alert signal per alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field

from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.sources import reading
from shared.adapters.sources.owners import Owners
from shared.config.schema import Section
from shared.model.event import derive_id
from shared.model.signal import Severity, Signal, SignalKind, Status
from shared.ports.source import Delivery, Source

_SEVERITIES: Mapping[Severity, tuple[str, ...]] = {
    Severity.SEV0: ("sev0", "p0", "s0", "fatal", "disaster", "blocker", "0"),
    Severity.SEV1: ("sev1", "p1", "s1", "critical", "crit", "page", "emergency", "emerg", "alert", "urgent", "1"),
    Severity.SEV2: ("sev2", "p2", "s2", "error", "err", "high", "major", "severe", "2"),
    Severity.SEV3: ("sev3", "p3", "s3", "warning", "warn", "medium", "moderate", "average", "minor", "ticket", "3"),
    Severity.SEV4: (
        *("sev4", "sev5", "p4", "p5", "s4", "s5", "info", "information", "informational", "notice", "low", "none"),
        *("debug", "verbose", "trivial", "ok", "4", "5"),
    ),
}
_RANKS = {word: severity for severity, words in _SEVERITIES.items() for word in words}
_ENDED = frozenset({"resolved", "ok", "inactive", "normal", "expired"})
_GOING_ON = frozenset({"firing", "active", "alerting", "suppressed", "unprocessed", "pending", "no_data", "nodata"})
_TIMES = frozenset({"startsat", "endsat"})


class Config(Section):
    """Settings of the Alertmanager source."""

    service_labels: list[str] = Field(
        default_factory=lambda: ["service", "app", "app_kubernetes_io_name", "application", "job", "namespace"],
        description="Labels that name the service, the most telling first.",
    )
    severity_labels: list[str] = Field(
        default_factory=lambda: ["severity", "priority", "level"], description="Labels that hold the severity."
    )
    environment_labels: list[str] = Field(
        default_factory=lambda: ["environment", "env"],
        description="Labels that name the environment of a service that is not configured.",
    )
    severities: dict[str, Severity] = Field(
        default_factory=dict, description="Your own words for severities; they come before the usual ones."
    )
    default_severity: Severity = Field(default=Severity.SEV3, description="Severity of alerts that carry none.")


@dataclass(frozen=True, slots=True)
class _Group:
    """What all alerts of a body share; empty for a plain list."""

    labels: Mapping[str, Any]
    annotations: Mapping[str, Any]
    status: str
    link: object


class AlertmanagerSource:
    """A `Source` for Alertmanager, Prometheus, and what speaks like them."""

    def __init__(self, name: str, config: Config, owners: Owners) -> None:
        self._name = name
        self._config = config
        self._owners = owners
        self._ranks = {**_RANKS, **{word.lower(): severity for word, severity in config.severities.items()}}

    def parse(self, delivery: Delivery) -> tuple[Signal, ...]:
        """See the port; in a list, what is no alert becomes a signal that says so."""
        found = _alerts(delivery.body)
        if not any(_is_alert(alert) for alert, _ in found):
            return ()
        return tuple(
            self._signal(alert, group, delivery, position) if _is_alert(alert) else self._odd(alert, delivery, position)
            for position, (alert, group) in enumerate(found)
        )

    def receipt(self, body: object, headers: Mapping[str, str], digest: str, received_at: datetime) -> str:
        """See the port."""
        return digest if reading.carries_time(body, _TIMES) else f"{digest}@{received_at.isoformat()}"

    def _signal(self, alert: Mapping[str, Any], group: _Group, delivery: Delivery, position: int) -> Signal:
        own = reading.obj(reading.pick(alert, "labels"))
        labels = reading.labels(own, group.labels)
        notes = {**group.annotations, **reading.obj(reading.pick(alert, "annotations"))}
        said = reading.plain(
            reading.pick(notes, "summary", "title") or reading.pick(alert, "summary", "title", "message"),
            reading.MAX_TITLE_CHARS,
        )
        told = reading.plain(reading.pick(notes, "description", "message") or reading.pick(alert, "description"))
        name = labels.get("alertname") or reading.text(reading.pick(alert, "name", "alertname"), 200) or said or "alert"
        began = reading.not_ahead(reading.moment(reading.pick(alert, "startsAt")), delivery.received_at)
        ended = reading.moment(reading.pick(alert, "endsAt"))
        status = _status(alert, group, ended, delivery.received_at)
        over = reading.not_ahead(ended, delivery.received_at)
        at = (over if status is Status.RESOLVED else began) or delivery.received_at
        service, resource = self._whose(labels)
        runbook = reading.text(reading.pick(notes, "runbook_url", "runbook"), 1000)
        return Signal(
            id=derive_id(self._name, delivery.receipt, str(position)),
            source=self._name,
            kind=SignalKind.ALERT,
            name=name,
            at=max(at, began) if began else at,
            service=service,
            environment=self._owners.environment(service) or _first(labels, self._config.environment_labels),
            resource=resource,
            labels={**labels, "runbook_url": runbook} if runbook else labels,
            fingerprint=reading.text(reading.pick(alert, "fingerprint"), 100)
            or (
                fingerprint({str(k): str(v) for k, v in own.items()})
                if "alertname" in own
                else derive_id(name, *_flat(own))
            ),
            severity=self._severity(labels, alert),
            status=status,
            starts_at=began or (at if status is Status.FIRING else None),
            summary=said or reading.text(told, reading.MAX_TITLE_CHARS) or name,
            description=told,
            value=_value(alert, notes),
            link=reading.link(
                reading.pick(alert, "generatorURL"), reading.pick(alert, "panelURL", "dashboardURL"), group.link
            ),
            payload=delivery.payload,
        )

    def _whose(self, labels: Mapping[str, str]) -> tuple[str, str]:
        instance = _first(labels, ("instance", "pod", "node", "host", "hostname"))
        host = instance.rsplit(":", 1)[0]
        named = [labels[name] for name in self._config.service_labels if name in labels]
        service = self._owners.find((*named, instance, host)) or next(iter(named), "") or host
        return service, instance

    def _severity(self, labels: Mapping[str, str], alert: Mapping[str, Any]) -> Severity:
        words = [labels.get(name, "") for name in self._config.severity_labels]
        words.append(reading.text(reading.pick(alert, "severity", "priority")))
        return next(
            (self._ranks[word.lower()] for word in words if word.lower() in self._ranks), self._config.default_severity
        )

    def _odd(self, entry: object, delivery: Delivery, position: int) -> Signal:
        return Signal(
            id=derive_id(self._name, delivery.receipt, str(position)),
            source=self._name,
            kind=SignalKind.ALERT,
            name="unrecognised alert",
            at=delivery.received_at,
            fingerprint=derive_id(self._name, reading.raw(entry)),
            severity=Severity.SEV4,
            status=Status.FIRING,
            starts_at=delivery.received_at,
            summary="A list of alerts had an entry nobody here understands",
            description=reading.raw(entry),
            payload=delivery.payload,
            recognised=False,
        )


def _is_alert(entry: Any) -> bool:
    """Labels or annotations make an alert; times and names alone do not tell it from any other object."""
    return isinstance(entry, dict) and any(reading.obj(reading.pick(entry, key)) for key in ("labels", "annotations"))


def _alerts(body: object) -> list[tuple[Any, _Group]]:
    body = reading.unwrapped(body)
    if isinstance(body, list):
        return [pair for one in body for pair in _alerts_of(reading.unwrapped(one))]
    return _alerts_of(body)


def _alerts_of(body: object) -> list[tuple[Any, _Group]]:
    if not isinstance(body, dict):
        return [(body, _Group({}, {}, "", ""))]
    alerts = reading.unwrapped(reading.pick(body, "alerts"))
    if not isinstance(alerts, list):
        return [(body, _Group({}, {}, "", ""))]
    group = _Group(
        {**reading.obj(reading.pick(body, "groupLabels")), **reading.obj(reading.pick(body, "commonLabels"))},
        reading.obj(reading.pick(body, "commonAnnotations")),
        reading.text(reading.pick(body, "status")).lower(),
        reading.pick(body, "externalURL"),
    )
    return [(reading.unwrapped(alert), group) for alert in alerts]


def _status(alert: Mapping[str, Any], group: _Group, ended: datetime | None, now: datetime) -> Status:
    said = reading.pick(alert, "status", "state")
    word = reading.text(reading.pick(reading.obj(said), "state") if reading.obj(said) else said).lower()
    for known in (word, group.status):
        if known in _ENDED:
            return Status.RESOLVED
        if known in _GOING_ON:
            return Status.FIRING
    return Status.RESOLVED if ended and ended <= now else Status.FIRING


def _value(alert: Mapping[str, Any], notes: Mapping[str, Any]) -> float | None:
    candidates = [*reading.obj(reading.pick(alert, "values")).values(), reading.pick(notes, "value", "current_value")]
    return next((found for found in map(reading.number, candidates) if found is not None), None)


def _first(labels: Mapping[str, str], names: Iterable[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _flat(labels: Mapping[str, Any]) -> list[str]:
    return [f"{name}={reading.text(labels[name])}" for name in sorted(labels)]


def fingerprint(labels: Mapping[str, str]) -> str:
    """The fingerprint Alertmanager itself gives to these labels, so that list and webhook agree.

    Returns:
        16 hex digits: FNV-1a over sorted names and values, each followed by a byte 255.

    Source: prometheus/common, model/fnv.go and model/signature.go.
    """
    found = 0xCBF29CE484222325
    for name in sorted(labels):
        for byte in b"".join(part.encode("utf-8", "replace") + b"\xff" for part in (name, labels[name])):
            found = ((found ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{found:016x}"


def _build(name: str, config: Config, surroundings: Surroundings) -> Source:
    return AlertmanagerSource(name, config, Owners(surroundings.services))


ADAPTER: Adapter[Source] = Adapter(config=Config, build=_build)
