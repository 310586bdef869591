"""host.json, settings files and what the loader refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from local.host.settings import (
    HostSettings,
    SettingsError,
    apply_settings_file,
    load_host_json,
    resolve,
    timespan_s,
)
from tests.local.host.process import ROOT


def host_json(folder: Path, **content: object) -> Path:
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **content}))
    return folder


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:10:00", 600), ("1.00:00:01", 86_401), ("00:00:00.5", 0.5), ("-1", float("inf")), ("00:05", 300)],
)
def test_time_spans(text: str, seconds: float) -> None:
    assert timespan_s(text) == seconds


def test_defaults(tmp_path: Path) -> None:
    found = load_host_json(host_json(tmp_path), {})
    assert found == HostSettings()
    assert found.route_prefix == "api"
    assert found.service_bus.max_concurrent_calls == 16


def test_values(tmp_path: Path) -> None:
    bus = {"maxConcurrentCalls": 2, "prefetchCount": 5, "maxAutoLockRenewalDuration": "00:01:00"}
    content = {"http": {"routePrefix": ""}, "serviceBus": bus, "durableTask": {"hubName": "%HUB%"}}
    folder = host_json(tmp_path, functionTimeout="00:00:05", extensions=content)
    found = load_host_json(folder, {"HUB": "mine", "PYTHON_THREADPOOL_THREAD_COUNT": "3"})
    assert (found.route_prefix, found.function_timeout_s, found.hub_name, found.threads) == ("", 5.0, "mine", 3)
    assert found.service_bus.prefetch_count == 5
    assert found.service_bus.max_lock_renewal_s == 60.0


@pytest.mark.parametrize(
    ("content", "environment", "error"),
    [
        ({"version": "1.0"}, {}, "version"),
        ({"functionTimeout": "ten minutes"}, {}, "not a time span"),
        ({"extensions": {"serviceBus": {"maxConcurrentCalls": 0}}}, {}, "maxConcurrentCalls must be a whole number"),
        ({"extensions": {"serviceBus": {"autoCompleteMessages": False}}}, {}, "autoCompleteMessages=false"),
        ({"extensions": []}, {}, "extensions must be an object"),
        ({"extensions": {"durableTask": {"hubName": "%HUB%"}}}, {}, "setting HUB is not defined"),
        ({}, {"PYTHON_THREADPOOL_THREAD_COUNT": "many"}, "PYTHON_THREADPOOL_THREAD_COUNT"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, content: dict[str, object], environment: dict[str, str], error: str
) -> None:
    with pytest.raises(SettingsError, match=error):
        load_host_json(host_json(tmp_path, **content), environment)


def test_a_missing_host_json_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"host\.json"):
        load_host_json(tmp_path, {})


def test_a_settings_file_fills_the_environment_but_does_not_override(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THERE_ALREADY", "kept")
    monkeypatch.delenv("NEW_ONE", raising=False)
    path = tmp_path / "local.settings.json"
    path.write_text(json.dumps({"IsEncrypted": False, "Values": {"NEW_ONE": True, "THERE_ALREADY": "lost"}}))
    names = apply_settings_file(path)
    assert names == ["NEW_ONE"]
    assert (os.environ["NEW_ONE"], os.environ["THERE_ALREADY"]) == ("true", "kept")
    del os.environ["NEW_ONE"]


@pytest.mark.parametrize("content", ["not json", "[]", '{"Values": {"SECRET": ["s3cret"]}}'])
def test_a_bad_settings_file_is_refused_without_its_values(tmp_path: Path, content: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        apply_settings_file(path)
    assert "s3cret" not in str(caught.value)


def test_references_are_resolved() -> None:
    assert resolve("a-%X%-%Y%", {"X": "1", "Y": "2"}, where="f") == "a-1-2"
    with pytest.raises(SettingsError, match="function f, queue name: setting Z is not defined"):
        resolve("%Z%", {}, where="function f, queue name")


HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)\n"
REFUSED = {
    "keys": (
        '@app.route(route="x", auth_level=func.AuthLevel.FUNCTION)\ndef f(req: func.HttpRequest) -> str: ...',
        "function f: the local host keeps no function keys",
    ),
    "blob": (
        '@app.blob_trigger(arg_name="b", path="p", connection="C")\ndef f(b: func.InputStream) -> None: ...',
        "function f: trigger blobTrigger is not supported",
    ),
    "output": (
        '@app.route(route="x")\n@app.queue_output(arg_name="o", queue_name="q", connection="C")\n'
        "def f(req: func.HttpRequest, o: func.Out[str]) -> str: ...",
        "function f: binding queue (o) is not supported",
    ),
    "sessions": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="q", connection="C", is_sessions_enabled=True)\n'
        "def f(m: func.ServiceBusMessage) -> None: ...",
        "function f: sessions are not supported",
    ),
    "unset connection": (
        '@app.service_bus_queue_trigger(arg_name="m", queue_name="q", connection="NO_SUCH")\n'
        "def f(m: func.ServiceBusMessage) -> None: ...",
        "function f: connection setting NO_SUCH is not defined",
    ),
    "schedule": (
        '@app.timer_trigger(arg_name="t", schedule="every day")\ndef f(t: func.TimerRequest) -> None: ...',
        "function f: 'every day' must have six fields",
    ),
    "schedule setting": (
        '@app.timer_trigger(arg_name="t", schedule="%WHEN%")\ndef f(t: func.TimerRequest) -> None: ...',
        "function f, schedule: setting WHEN is not defined",
    ),
    "two of one name": (
        '@app.function_name("f")\n@app.route(route="x")\ndef a(req: func.HttpRequest) -> str: ...\n'
        '@app.function_name("f")\n@app.route(route="y")\ndef b(req: func.HttpRequest) -> str: ...',
        "Function f does not have a unique function name",
    ),
    "no app": ("del app", "exactly one function app, found 0"),
    "route": (
        '@app.route(route="x/{y:date}")\ndef f(req: func.HttpRequest) -> str: ...',
        "constraint 'date' is not supported",
    ),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_an_app_that_cannot_be_run_is_refused_in_words(tmp_path: Path, case: str) -> None:
    code, error = REFUSED[case]
    host_json(tmp_path)
    (tmp_path / "function_app.py").write_text(HEAD + code + "\n")
    command = [sys.executable, "-m", "local.host", "--app", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert error in done.stderr
    assert "Traceback" not in done.stderr
