"""Azure Monitor: identity, times, severity, owner, and bodies nobody expected."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.adapters.sources.samples import sample
from shared.model.signal import Severity, Signal, SignalKind, Status
from tests.adapters.sources.posting import NOW, parsed, source

SUBSCRIPTION = "/subscriptions/5f0e1f6c-0001-4a77-9c55-7d2b0a3c1e10"
VM = f"{SUBSCRIPTION}/resourceGroups/rg-a/providers/Microsoft.Compute/virtualMachines/vm-1"


def body(**essentials: Any) -> dict[str, Any]:
    """A metric alert, with some members of ``essentials`` replaced, or left out when they are ``...``."""
    found: dict[str, Any] = {
        "alertId": f"{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/9b0f",
        "alertRule": "cpu",
        "severity": "Sev2",
        "signalType": "Metric",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [VM],
        "configurationItems": ["vm-1"],
        "originAlertId": "o-1",
        "firedDateTime": "2026-03-02T08:00:00Z",
        **essentials,
    }
    found = {name: value for name, value in found.items() if value is not ...}
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": found, "alertContext": {}}}


def only(given: Any, **more: Any) -> Signal:
    (signal,) = parsed("azure_monitor", given, **more)
    return signal


@pytest.mark.parametrize("number", range(5))
def test_severity_is_taken_as_it_is(number: int) -> None:
    assert only(body(severity=f"Sev{number}")).severity is Severity(f"sev{number}")


@pytest.mark.parametrize(
    ("given", "severity"),
    [
        *(("2", "sev2"), (1, "sev1"), ("SEV0", "sev0"), ("Critical", "sev0"), ("Warning", "sev2"), ("Verbose", "sev4")),
        *((None, "sev3"), ("", "sev3"), ("Sev9", "sev3"), ({}, "sev3"), (..., "sev3")),
    ],
)
def test_severity_in_other_words_or_none(given: Any, severity: str) -> None:
    assert only(body(severity=given)).severity == severity


def test_the_default_severity_can_be_configured() -> None:
    (signal,) = parsed("azure_monitor", body(severity=None), default_severity="sev1")
    assert signal.severity is Severity.SEV1


def test_fired_and_resolved_share_their_identity_and_nobody_elses() -> None:
    fired = only(body())
    resolved = only(body(monitorCondition="Resolved", resolvedDateTime="2026-03-02T08:30:00Z"))
    other_case = only(body(alertTargetIDs=[VM.upper()]))
    assert fired.fingerprint == resolved.fingerprint == other_case.fingerprint
    assert (fired.status, resolved.status) == (Status.FIRING, Status.RESOLVED)
    assert fired.starts_at == resolved.starts_at == fired.at < resolved.at
    others = [
        body(alertId=f"{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/other"),
        body(alertRule="memory"),
        body(alertTargetIDs=[VM + "2"]),
    ]
    assert fired.fingerprint not in {only(other).fingerprint for other in others}


def test_without_an_alert_id_the_origin_or_the_rule_is_the_identity() -> None:
    assert only(body(alertId=None)).fingerprint == only(body(alertId=None, severity="Sev1")).fingerprint
    assert only(body(alertId=None)).fingerprint != only(body(alertId=None, originAlertId="o-2")).fingerprint
    assert (
        only(body(alertId=..., originAlertId=...)).fingerprint
        == only(body(alertId=..., originAlertId=..., monitorCondition="Resolved")).fingerprint
    )


@pytest.mark.parametrize(
    ("fired", "resolved", "at"),
    [
        pytest.param("2026-03-02T08:00:00.1234567Z", None, NOW, id="a-resolve-without-time-is-now"),
        pytest.param(
            "2026-03-02T08:00:00Z", "2026-03-02T07:59:59Z", "2026-03-02T08:00:00", id="never-before-its-start"
        ),
        pytest.param(None, "2026-03-02T08:10:00Z", "2026-03-02T08:10:00", id="start-unknown"),
    ],
)
def test_time_of_a_resolve(fired: Any, resolved: Any, at: Any) -> None:
    signal = only(body(monitorCondition="Resolved", firedDateTime=fired, resolvedDateTime=resolved))
    assert signal.at == (at if isinstance(at, datetime) else datetime.fromisoformat(at).replace(tzinfo=UTC))
    assert (signal.starts_at is None) == (fired is None)


def test_a_firing_without_any_time_is_now() -> None:
    signal = only(body(firedDateTime=None))
    assert signal.at == signal.starts_at == NOW


@pytest.mark.parametrize(
    ("resources", "essentials"),
    [
        pytest.param(["vm-1"], {}, id="name"),
        pytest.param([VM.upper()], {}, id="whole-arm-id-in-any-case"),
        pytest.param([VM], {"alertTargetIDs": None}, id="item-is-the-last-part-of-a-configured-id"),
        pytest.param([VM], {"alertTargetIDs": [VM + "/extensions/x"], "configurationItems": None}, id="child-resource"),
        pytest.param(["vm-9"], {"alertTargetIDs": [VM, VM[:-1] + "9"]}, id="any-target"),
    ],
)
def test_a_configured_service_owns_its_resources(resources: list[str], essentials: dict[str, Any]) -> None:
    signal = only(body(**essentials), services={"shop": {"resources": resources, "environment": "staging"}})
    assert (signal.service, signal.environment) == ("shop", "staging")


@pytest.mark.parametrize(
    ("essentials", "service"),
    [
        pytest.param({}, "vm-1", id="last-part-of-the-target"),
        pytest.param({"alertTargetIDs": None}, "vm-1", id="item"),
        pytest.param(
            {"alertTargetIDs": [SUBSCRIPTION], "configurationItems": ["db"]}, "db", id="item-before-subscription"
        ),
        pytest.param({"alertTargetIDs": VM}, "vm-1", id="a-text-instead-of-a-list"),
        pytest.param({"alertTargetIDs": [], "configurationItems": []}, "", id="nobody-says"),
    ],
)
def test_a_service_nobody_configured_is_named_after_its_resource(essentials: dict[str, Any], service: str) -> None:
    signal = only(body(**essentials))
    assert (signal.service, signal.environment) == (service, "")


@pytest.mark.parametrize("place", ["data", "context", "both"])
def test_custom_properties_in_either_place_name_the_service(place: str) -> None:
    given = body()
    if place != "context":
        given["data"]["customProperties"] = {"Service": "shop", "n": 1, "nested": {"not": "a label"}}
    if place != "data":
        given["data"]["alertContext"] = {"properties": json.dumps({"Service": "shop", "n": 1, "nested": []})}
    signal = only(given)
    assert signal.service == "shop"
    assert signal.labels["n"] == "1"
    assert "nested" not in signal.labels


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(json.dumps, id="json-in-a-string"),
        pytest.param(lambda given: json.dumps(json.dumps(given)), id="twice"),
        pytest.param(lambda given: [given], id="list"),
        pytest.param(lambda given: {"body": given}, id="relay"),
        pytest.param(lambda given: {**given, "data": json.dumps(given["data"])}, id="data-as-a-string"),
        pytest.param(lambda given: given["data"], id="data-alone"),
    ],
)
def test_wrapped_bodies_are_found(wrap: Any) -> None:
    assert only(wrap(body())).name == "cpu"


def test_in_a_list_every_entry_is_kept() -> None:
    good, odd = parsed("azure_monitor", [body(), {"hello": "world"}])
    assert (good.recognised, odd.recognised) == (True, False)
    assert (odd.severity, odd.description) == (Severity.SEV4, '{"hello": "world"}')
    assert good.id != odd.id


@pytest.mark.parametrize("given", [None, 7, "text", [], {}, [[]], {"data": None}, {"status": "ok"}, {"query": "x"}])
def test_unknown_shapes_are_left_to_the_collector(given: Any) -> None:
    assert parsed("azure_monitor", given) == ()


def test_a_sample_is_read_back_and_its_resolve_belongs_to_it() -> None:
    fired = only(json.loads(sample("azure_monitor", NOW)), received_at=NOW)
    later = NOW + timedelta(minutes=2)
    resolved = only(json.loads(sample("azure_monitor", later, resolved=True)), received_at=later)
    assert (fired.kind, fired.service, fired.severity, fired.at) == (SignalKind.ALERT, "shop", Severity.SEV2, NOW)
    assert (resolved.status, resolved.at) == (Status.RESOLVED, later)
    assert fired.fingerprint == resolved.fingerprint


def test_the_same_delivery_again_is_the_same_signal() -> None:
    assert only(body()).id == only(copy.deepcopy(body()), received_at=NOW + timedelta(hours=1)).id
    assert only(body()).id != only(body(severity="Sev1")).id


def test_a_body_without_a_time_is_new_every_time_it_arrives() -> None:
    reader = source("azure_monitor")
    later = NOW + timedelta(hours=1)
    timeless = body(firedDateTime="soon")
    assert reader.receipt(timeless, {}, "d", NOW) != reader.receipt(timeless, {}, "d", later)
    assert reader.receipt(body(), {}, "d", NOW) == reader.receipt(body(), {}, "d", later) == "d"


def test_texts_are_cut_to_what_people_read() -> None:
    signal = only(body(alertRule="r" * 900, description="d" * 90_000))
    assert len(signal.name) <= 300
    assert len(signal.summary) <= 200
    assert len(signal.description) <= 4000
