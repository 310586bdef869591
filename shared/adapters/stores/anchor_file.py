"""Audit heads in a local file that is only appended to; in Azure an immutable blob takes its place.

In: heads. Out: one JSON line each.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
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
        lines = "".join(codec.canonical(head) + "\n" for head in heads)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                cut_short = file.tell() > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
                file.write(("\n" if cut_short else "").encode() + lines.encode())
        except OSError as error:
            raise TransientError(f"the anchor file cannot be written: {error.strerror}", Reason.UNAVAILABLE) from error

    def latest(self) -> dict[str, Head]:
        """See `shared.ports.anchor`. A line cut short by a crash is passed over."""
        found: dict[str, Head] = {}
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return found
        except OSError as error:
            raise TransientError(f"the anchor file cannot be read: {error.strerror}", Reason.UNAVAILABLE) from error
        for line in lines:
            try:
                head = codec.from_json(Head, json.loads(line))
            except (ValueError, PermanentError):
                continue
            if head.chain not in found or head.number >= found[head.chain].number:
                found[head.chain] = head
        return found
