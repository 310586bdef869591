"""Alertmanager: webhook, plain list, single alert; severity, owner, times, identity."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.sources.alertmanager import fingerprint
from shared.adapters.sources.samples import sample
from shared.model.errors import PermanentError
from shared.model.signal import Severity, Signal, Status
from tests.adapters.sources.posting import NOW, parsed, source


def alert(labels: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"labels": {"alertname": "Down", **(labels or {})}, "startsAt": "2026-03-02T08:00:00Z", **more}


def only(given: Any, **more: Any) -> Signal:
    (signal,) = parsed("alertmanager", given, **more)
    return signal


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        ({"severity": "critical"}, "sev1"),
        ({"severity": "page"}, "sev1"),
        ({"priority": "P1"}, "sev1"),
        ({"severity": "P0"}, "sev0"),
        ({"severity": "high"}, "sev2"),
        ({"severity": "error"}, "sev2"),
        ({"severity": "Warning"}, "sev3"),
        ({"severity": "info"}, "sev4"),
        ({"severity": "none"}, "sev4"),
        ({"severity": "sev2"}, "sev2"),
        ({"severity": "odd", "priority": "p2"}, "sev2"),
        ({"severity": "odd"}, "sev3"),
        ({}, "sev3"),
    ],
)
def test_severity_words(labels: dict[str, str], severity: str) -> None:
    assert only([alert(labels)]).severity == severity


def test_own_words_for_severity_come_first() -> None:
    found = parsed("alertmanager", [alert({"severity": "Critical"})], severities={"CRITICAL": "sev0"})
    assert found[0].severity is Severity.SEV0


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({"service": "a", "app": "b", "job": "c"}, "a"),
        ({"app": "b", "job": "c", "namespace": "d"}, "b"),
        ({"namespace": "d"}, "d"),
        ({"instance": "db-1:9100"}, "db-1"),
        ({"job": "node", "instance": "SHOP-VM:9100"}, "shop"),
        ({}, ""),
    ],
)
def test_whose_alert_it_is(labels: dict[str, str], service: str) -> None:
    assert only([alert(labels)], services={"shop": {"resources": ["shop-vm"]}}).service == service


@pytest.mark.parametrize(
    ("given", "status"),
    [
        pytest.param([alert()], "firing", id="list-without-end"),
        pytest.param([alert(endsAt="0001-01-01T00:00:00Z")], "firing", id="year-one-means-no-end"),
        pytest.param([alert(endsAt="2026-03-02T09:04:00Z")], "firing", id="list-ends-later"),
        pytest.param([alert(endsAt="2026-03-02T08:59:00Z")], "resolved", id="list-ended"),
        pytest.param({"status": "firing", "alerts": [alert(status="resolved")]}, "resolved", id="own-status-first"),
        pytest.param({"status": "resolved", "alerts": [alert()]}, "resolved", id="status-of-the-group"),
        pytest.param([alert(status={"state": "suppressed"})], "firing", id="api-v2-state"),
        pytest.param(
            {"alerts": [alert(status="firing", endsAt="2026-03-02T08:59:00Z")]}, "firing", id="status-over-end"
        ),
    ],
)
def test_status(given: Any, status: str) -> None:
    assert only(given).status == status


def test_a_resolve_is_as_old_as_its_end() -> None:
    ended = only([alert(endsAt="2026-03-02T08:30:00Z")])
    assert ended.at == NOW - timedelta(minutes=30)
    assert ended.starts_at == NOW - timedelta(hours=1)
    unknown = only({"alerts": [alert(status="resolved", endsAt=None)]})
    assert unknown.at == NOW


def test_list_and_webhook_have_one_identity() -> None:
    plain = only([alert({"severity": "info"})])
    hook = only({"status": "resolved", "alerts": [alert({"severity": "info"}, fingerprint=plain.fingerprint)]})
    bare = only({"status": "resolved", "commonLabels": {"x": "y"}, "alerts": [alert({"severity": "info"})]})
    assert plain.fingerprint == hook.fingerprint == bare.fingerprint
    assert plain.fingerprint != only([alert({"severity": "info", "instance": "b"})]).fingerprint


def test_fingerprint_is_alertmanagers_own() -> None:
    assert fingerprint({}) == "cbf29ce484222325"  # what FNV-1a starts from
    assert fingerprint({"a": "b"}) != fingerprint({"ab": ""})


def test_what_a_group_shares_belongs_to_each_alert() -> None:
    signal = only(
        {
            "alerts": [{"labels": {"instance": "i"}, "annotations": None}],
            "commonLabels": {"alertname": "Shared", "severity": "critical"},
            "commonAnnotations": {"summary": "all of it"},
            "externalURL": "https://am.invalid",
        }
    )
    assert (signal.name, signal.severity, signal.summary) == ("Shared", Severity.SEV1, "all of it")
    assert signal.link == "https://am.invalid"


def test_several_alerts_of_one_body_are_signals_of_their_own() -> None:
    found = parsed("alertmanager", {"alerts": [alert({"n": str(n)}) for n in range(3)]})
    assert len({signal.id for signal in found}) == len({signal.fingerprint for signal in found}) == 3


@pytest.mark.parametrize("given", [None, 1, "x", [], {}, {"alerts": []}, {"alerts": "none"}, [1, 2], {"labels": 3}])
def test_unknown_shapes_are_left_to_the_collector(given: Any) -> None:
    assert parsed("alertmanager", given) == ()


def test_an_alert_without_a_name_or_times() -> None:
    signal = only({"summary": "Disk is nearly full", "labels": {"severity": "warning"}})
    assert (signal.name, signal.at, signal.status) == ("Disk is nearly full", NOW, Status.FIRING)
    reader = source("alertmanager")
    assert reader.receipt({"labels": {}}, {}, "d", NOW) != "d"
    assert reader.receipt([alert()], {}, "d", NOW) == "d"


def test_a_sample_is_read_back_and_its_resolve_belongs_to_it() -> None:
    fired = only(json.loads(sample("alertmanager", NOW)))
    resolved = only(json.loads(sample("alertmanager", NOW, resolved=True)))
    assert (fired.service, fired.severity, fired.status, fired.at) == ("shop", Severity.SEV1, Status.FIRING, NOW)
    assert (resolved.status, resolved.at) == (Status.RESOLVED, NOW)
    assert fired.fingerprint == resolved.fingerprint


def test_there_is_no_sample_of_an_unknown_source() -> None:
    with pytest.raises(PermanentError, match="alertmanager, azure_monitor"):
        sample("nagios", NOW)
