"""Host and app settings agree with the configuration and with the triggers."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOST: dict[str, Any] = json.loads((ROOT / "host.json").read_text("utf-8"))
EXAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.example.json").read_text("utf-8"))["Values"]


def _span(text: str) -> timedelta:
    hours, minutes, seconds = (int(part) for part in text.split(":"))
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize("name", ["argus.yaml", "prod.example.yaml"])
def test_the_configuration_knows_the_function_time_out(name: str) -> None:
    """The lease of an intent lasts one minute longer than a function may run (rule H2)."""
    settings = yaml.safe_load((ROOT / "config" / name).read_text("utf-8"))
    assert timedelta(seconds=settings["host"]["function_timeout_s"]) == _span(HOST["functionTimeout"])


def test_a_message_stays_locked_while_its_function_may_run() -> None:
    bus = HOST["extensions"]["serviceBus"]
    assert _span(bus["maxAutoLockRenewalDuration"]) > _span(HOST["functionTimeout"])
    assert bus["autoCompleteMessages"] is True
    assert bus["prefetchCount"] == 0  # a prefetched message loses its lock while it waits
    assert HOST["extensions"]["http"]["routePrefix"] == ""


def test_the_example_of_app_settings_has_everything_that_must_be_set() -> None:
    config = (ROOT / EXAMPLE["ARGUS_CONFIG"]).read_text("utf-8")
    wanted = set(re.findall(r"\$\{([A-Z_]+)\}", "\n".join(line.partition("#")[0] for line in config.splitlines())))
    code = "".join(path.read_text("utf-8") for path in (ROOT / "functions").glob("*.py"))
    wanted |= set(re.findall(r"%([A-Z_]+)%", code + json.dumps(HOST))) | {"ServiceBusConnection", "ARGUS_ROLES"}
    assert not wanted - set(EXAMPLE)
    assert EXAMPLE["FUNCTIONS_WORKER_RUNTIME"] == "python"


def test_the_example_holds_no_secret() -> None:
    secret = {name: value for name, value in EXAMPLE.items() if re.search("SECRET|TOKEN|KEY|_URL", name)}
    assert secret
    assert all(re.fullmatch("<.*>", value) for value in secret.values())
    assert "SharedAccessKey=<key>" in EXAMPLE["ServiceBusConnection"]
