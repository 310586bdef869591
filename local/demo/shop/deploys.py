"""The deploy log, which is also the shop's memory of what runs and which requests it has carried out.

In: deploy requests. Out: entries in `deploys.jsonl`; the last one is the release that runs.
"""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from local.demo.shop.releases import FIRST, RELEASES, Constants, Release, diff

SERVICE = "shop"
MAX_AUTHOR_CHARS = 80


class UnknownVersionError(Exception):
    """No release has this version."""


class DeployLog:
    """One line per carried-out request, written and synced before it is answered.

    A single append is the whole effect: the release, the log line and the answer to a repeated request
    cannot disagree after a crash.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._entries = _read(path)
        if not self._entries:
            self._append(RELEASES[FIRST], "", now, RELEASES[FIRST].author, RELEASES[FIRST].message, "", None)

    @property
    def version(self) -> str:
        """The version that runs."""
        return str(self._entries[-1]["version"])

    @property
    def constants(self) -> Constants:
        """The constants of the version that runs."""
        return RELEASES[self.version].constants

    @property
    def previous(self) -> str:
        """The version that ran before this one; empty when there was none."""
        changes = [entry for entry in self._entries if entry["changed"]]
        return str(changes[-1]["previous"])

    def since(self, start: datetime | None) -> list[dict[str, Any]]:
        """Every change of the release from ``start`` on, oldest first, as the deploy log shows it."""
        return [
            _shown(entry)
            for entry in self._entries
            if entry["changed"] and (start is None or datetime.fromisoformat(entry["at"]) >= start)
        ]

    def carried_out(self, request_id: str, idempotency_key: str = "") -> dict[str, Any] | None:
        """The entry of a request that was carried out before, found by its id or its idempotency key."""
        for entry in self._entries:
            if request_id and entry["request_id"] == request_id:
                return _shown(entry)
            if idempotency_key and entry["idempotency_key"] == idempotency_key:
                return _shown(entry)
        return None

    def deploy(
        self, version: str, now: datetime, request_id: str, idempotency_key: str = "", author: str = ""
    ) -> dict[str, Any]:
        """Put a version into service; the one that runs is deployed again without a change.

        Raises:
            UnknownVersionError: no such release.
        """
        release = _release(version)
        return self._append(
            release, request_id, now, author or release.author, release.message, idempotency_key, rollback_of=None
        )

    def rollback(
        self, to: str, now: datetime, request_id: str, idempotency_key: str = "", author: str = ""
    ) -> dict[str, Any]:
        """Go back to an earlier version; ``to`` may be empty for the previous one.

        Raises:
            UnknownVersionError: no such release, or there is no previous one.
        """
        release = _release(to or self.previous)
        undone = [entry for entry in self._entries if entry["changed"]][-1]
        rollback_of = str(undone["id"]) if release.version != self.version else None
        message = f"Roll back {self.version} to {release.version}"
        return self._append(release, request_id, now, author or "argus", message, idempotency_key, rollback_of)

    def _append(
        self,
        release: Release,
        request_id: str,
        now: datetime,
        author: str,
        message: str,
        idempotency_key: str,
        rollback_of: str | None,
    ) -> dict[str, Any]:
        before = self._entries[-1]["version"] if self._entries else ""
        entry: dict[str, Any] = {
            "id": f"deploy-{len(self._entries) + 1:04d}",
            "at": now.isoformat(),
            "service": SERVICE,
            "version": release.version,
            "previous": before,
            "author": author[:MAX_AUTHOR_CHARS],
            "message": message,
            "diff": diff(RELEASES[before].constants, release.constants) if before else "",
            "request_id": request_id,
            "idempotency_key": idempotency_key,
            "changed": before != release.version,
        }
        if rollback_of is not None:
            entry["rollback_of"] = rollback_of
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")
            log.flush()
            os.fsync(log.fileno())
        self._entries.append(entry)
        return _shown(entry)


def _release(version: str) -> Release:
    if version not in RELEASES:
        raise UnknownVersionError(f"unknown version; known are {', '.join(RELEASES)}")
    return RELEASES[version]


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("request_id", "idempotency_key", "changed")}


def _read(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; a last line that a kill cut short was never answered, so it goes."""
    if not path.exists():
        return []
    whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
    if torn:
        path.write_text(whole + "\n" if whole else "", encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines() if line]
