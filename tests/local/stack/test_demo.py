"""`make demo`: one incident through the whole loop, with its summary."""

from __future__ import annotations

import json
import subprocess
import sys

from local.stack.places import ROOT
from shared.model.pipeline import MicroAgent


def test_the_demo_plays_one_incident_through_every_micro_agent() -> None:
    command = [sys.executable, "-m", "local", "demo"]
    played = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert played.returncode == 0, played.stdout[-3000:] + played.stderr[-3000:]
    summary = json.loads((ROOT / ".argus" / "demo" / "summary.json").read_text(encoding="utf-8"))
    assert summary["state"] == "closed"
    assert summary["audit_verified"] is True
    assert summary["approvals"] == summary["actions"] == 1
    assert summary["ticket"].startswith("INC")
    assert len(summary["documents"]) == 4
    assert set(summary["agents"]) >= {str(name) for name in MicroAgent}
    assert summary["seconds"] < 90
    for name in summary["agents"]:
        assert name in played.stdout
