"""`make demo`: one incident through the whole loop, with its summary, and nothing in what it leaves that is secret."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from local.stack.places import ROOT
from shared.model.pipeline import MicroAgent

DATA = ROOT / ".argus" / "demo"
HOLD_SECRETS = {"secrets.json", "settings.json", "up.json"}  # that is what they are for; only their owner may read them


@pytest.fixture(scope="module")
def played() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local", "demo"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)


@pytest.fixture
def summary(played: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert played.returncode == 0, played.stdout[-3000:] + played.stderr[-3000:]
    found: dict[str, Any] = json.loads((DATA / "summary.json").read_text(encoding="utf-8"))
    return found


def test_the_demo_plays_one_incident_through_every_micro_agent(
    played: subprocess.CompletedProcess[str], summary: dict[str, Any]
) -> None:
    assert summary["state"] == "closed"
    assert summary["audit_verified"] is True
    assert summary["approvals"] == summary["actions"] == 1
    assert summary["ticket"].startswith("INC")
    assert len(summary["documents"]) == 4
    assert set(summary["agents"]) >= {str(name) for name in MicroAgent}
    assert summary["seconds"] < 90
    for name in summary["agents"]:
        assert name in played.stdout


def _values(file: Path) -> Iterator[bytes]:
    """Every text and blob of a database, unpacked where it is packed; its raw bytes would miss what is packed."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    packed = value.encode() if isinstance(value, str) else value
                    if isinstance(packed, bytes):
                        yield from _unpacked(packed)


def _unpacked(value: bytes) -> Iterator[bytes]:
    yield value
    if value.startswith(b"{"):  # the store keeps bytes as base64 in JSON
        for text in (part for part in value.split(b'"') if part.startswith(b"H4sI")):
            yield gzip.decompress(base64.b64decode(text))
    elif value.startswith(b"\x1f\x8b"):
        yield gzip.decompress(value)


def _left_behind() -> Iterator[tuple[str, bytes]]:
    for file in sorted(path for path in DATA.rglob("*") if path.is_file() and path.name not in HOLD_SECRETS):
        yield str(file.relative_to(DATA)), file.read_bytes()
        if file.suffix == ".db":
            for value in _values(file):
                yield str(file.relative_to(DATA)), value


def test_what_a_run_leaves_holds_no_secret(played: subprocess.CompletedProcess[str], summary: dict[str, Any]) -> None:
    """Logs, cards, tickets, pages and every database are read; only three private files may hold what is secret."""
    secrets: dict[str, str] = json.loads((DATA / "secrets.json").read_text(encoding="utf-8"))
    looked_for = {
        form: name
        for name, value in secrets.items()
        for form in (value.encode(), quote(value, safe="").encode(), base64.b64encode(value.encode()))
    }
    read: set[str] = {"screen"}
    found = set()
    for where, content in [("screen", (played.stdout + played.stderr).encode()), *_left_behind()]:
        read.add(where)
        found |= {(where, name) for form, name in looked_for.items() if form in content}
    assert not found
    assert read >= {"store.db", "logs/hops.jsonl", "logs/host.log", "sandbox.db", "broker.db", "durable.db"}
    for name in HOLD_SECRETS:
        assert (DATA / name).stat().st_mode & 0o077 == 0, f"{name} can be read by others"
