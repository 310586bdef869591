"""Audit heads in a local file that is only appended to; in Azure an immutable blob takes its place.

In: heads. Out: one JSON line each, read only once by a process that keeps asking for the latest.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.model import codec
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.anchor import Extent, Head


@dataclass(slots=True)
class _Known:
    """What was read so far: up to ``offset`` of the file that was ``identity``."""

    identity: tuple[int, int] = (0, 0)
    offset: int = 0
    lines: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    latest: dict[str, Head] = field(default_factory=dict)


class AnchorFile:
    """Heads in a file. Threads may share it; other processes may append to the same file.

    Args:
        path: created with its folder at the first head.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known = _Known()

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
        with self._lock:
            return dict(self._read_on().latest)

    def extent(self, lines: int | None = None) -> Extent:
        """See `shared.ports.anchor`."""
        if lines is None:
            with self._lock:
                known = self._read_on()
                return Extent(known.lines, known.digest.hexdigest())
        found, digest = 0, hashlib.sha256()
        for line in self._lines():
            if found == lines:
                break
            found += 1
            digest.update(line)
        return Extent(found, digest.hexdigest())

    def history(self) -> Mapping[str, Sequence[Head]]:
        """See `shared.ports.anchor`."""
        found: dict[str, list[Head]] = {}
        for line in self._lines():
            head = _head(line)
            if head is not None:
                found.setdefault(head.chain, []).append(head)
        return found

    def _lines(self) -> Iterator[bytes]:
        """Every whole line, line end included."""
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line
        except FileNotFoundError:
            return
        except OSError as error:
            raise TransientError(f"the anchor file cannot be read: {error.strerror}", Reason.UNAVAILABLE) from error

    def _read_on(self) -> _Known:
        """What is known, with what was appended since; from the beginning when the file is another, or shorter."""
        known = self._known
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != known.identity or status.st_size < known.offset:
                    known = _Known(identity)
                file.seek(known.offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # somebody is writing it, or died of it
                    known.offset += len(line)
                    known.lines += 1
                    known.digest.update(line)
                    head = _head(line)
                    if head is not None and _further(head, known.latest.get(head.chain)):
                        known.latest[head.chain] = head
        except FileNotFoundError:
            known = _Known()
        except OSError as error:
            raise TransientError(f"the anchor file cannot be read: {error.strerror}", Reason.UNAVAILABLE) from error
        self._known = known
        return known


def _further(head: Head, known: Head | None) -> bool:
    return known is None or head.number >= known.number


def _head(line: bytes) -> Head | None:
    try:
        return codec.from_json(Head, json.loads(line))
    except (ValueError, PermanentError, RecursionError):
        return None
