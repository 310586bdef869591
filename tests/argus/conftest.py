"""A running ARGUS for the command line, and a shell to call it from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argus.cli import main
from shared.adapters.stores.sqlite import SqliteStore
from shared.portal import Request, Response
from tests.portal.serving import plain, serving
from tests.portal.world import KEY, World, world

QUEUES = [
    {"name": "signals", "active": 2, "locked": 1, "scheduled": 0, "dead_letter": 0, "oldest_s": 75.2},
    {"name": "actions", "active": 0, "locked": 0, "scheduled": 3, "dead_letter": 1, "oldest_s": None},
]


@dataclass
class Far:
    """What the stack beside the portal was asked."""

    signals: list[tuple[str, str, bytes]] = field(default_factory=list)
    queues: list[dict[str, object]] = field(default_factory=lambda: list(QUEUES))
    sandbox: int = 200

    def answer(self, request: Request) -> Response | None:
        """Webhooks, broker statistics, health and sandbox."""
        if request.path.startswith("/api/signals/"):
            source, key = request.path.rsplit("/", 1)[-1], request.headers.get("x-functions-key", "")
            if key not in (KEY, "key-of-azure"):
                return plain(401, {"title": "no or wrong key", "status": 401, "detail": ""})
            if source != "azure_monitor":
                return plain(404, {"title": f"no source '{source}'", "detail": "The sources are: azure_monitor."})
            self.signals.append((source, key, request.body))
            return plain(202, {"receipt": "r-1", "signals": 1, "recognised": b"schemaId" in request.body})
        known = {"/queues": plain(200, self.queues), "/healthz": plain(200, {}), "/sandbox/": plain(self.sandbox, {})}
        return known.get(request.path)


@dataclass
class Shell:
    """Calls the command line in a folder with a running stack."""

    site: World
    far: Far
    url: str
    folder: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        code = main(arguments, environ, self.folder)
        captured = self.capture.readouterr()
        return code, captured.out, captured.err


@pytest.fixture
def shell(store: SqliteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A portal that answers on loopback, and its `.argus/up.json` in a folder above the shell's."""
    site = world(store)
    site.clock.now = datetime.now(UTC)
    far = Far()
    with serving(site.portal, far.answer) as url:
        content = {
            "http": url, "portal": url, "sandbox": f"{url}/sandbox", "stats": url, "servicebus": "", "pids": {},
            "keys": {"default": KEY, "azure_monitor": "key-of-azure"},
        }  # fmt: skip
        (tmp_path / ".argus").mkdir()
        (tmp_path / ".argus" / "up.json").write_text(json.dumps(content))
        below = tmp_path / "some" / "where"
        below.mkdir(parents=True)
        yield Shell(site, far, url, below, capsys)
