"""The harness itself: a stack, three kills in the middle of an effect, and the verdict; `make crash` does fifty."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.stack.places import ROOT

pytestmark = pytest.mark.usefixtures("loopback_only")
KILLS = ("host:effect:after:depot_hook.run", "sandbox:commit:after:servicenow.post", "broker:commit:after:drop.actions")


def test_three_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """The action has run and nobody knows, the ticket is open and nobody was told, the broker forgets its locks."""
    measured = tmp_path / "crash.json"
    command = [sys.executable, "-m", "benchmarks", "crash", "--kills", str(len(KILLS)), "--light"]
    command += [part for spec in KILLS for part in ("--only", spec)]
    command += ["--json", str(measured), "--data", str(tmp_path / "data")]
    played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    said = played.stdout + played.stderr
    assert played.stdout.splitlines()[-1] == "3 kills: 0 lost, 0 double", said[-4000:]
    assert played.returncode == 0, said[-4000:]
    found = json.loads(measured.read_text(encoding="utf-8"))
    assert [kill["spec"] for kill in found["kills"]] == [f"{spec}:1" for spec in KILLS]
    assert all(kill["worked_off_s"] >= kill["answers_s"] > 0 for kill in found["kills"])
    assert len(re.findall(r"answers after [\d.]+ s, worked off after [\d.]+ s", said)) == len(KILLS)


def test_a_point_that_is_none_is_wrong_usage(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "benchmarks", "crash", "--only", "host:sometimes"]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 2
    assert "is not process:kind:before|after:name[:nth]" in capfd.readouterr().err
