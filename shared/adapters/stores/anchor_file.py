"""Audit heads in a local file that is only appended to; in Azure an immutable blob takes its place.

In: heads. Out: one JSON line each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from shared.model import codec
from shared.model.errors import Reason, TransientError
from shared.ports.anchor import Head


class AnchorFile:
    """Heads in a file.

    Args:
        path: created with its folder at the first head.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, heads: Sequence[Head]) -> None:
        """See `shared.ports.anchor`."""
        if not heads:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("".join(codec.canonical(head) + "\n" for head in heads))
        except OSError as error:
            raise TransientError(f"the anchor file cannot be written: {error.strerror}", Reason.UNAVAILABLE) from error

    def latest(self) -> dict[str, Head]:
        """See `shared.ports.anchor`. A line cut short by a crash is passed over."""
        found: dict[str, Head] = {}
        if not self._path.exists():
            return found
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                raw = json.loads(line)
                head = Head(raw["chain"], raw["number"], raw["hash"], datetime.fromisoformat(raw["at"]))
            except (ValueError, KeyError):
                continue
            if head.chain not in found or head.number >= found[head.chain].number:
                found[head.chain] = head
        return found
