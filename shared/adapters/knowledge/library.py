"""Runbooks from folders of Markdown files.

In: folders. Out: parsed runbooks, read again only when a file changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from shared.model.errors import PermanentError
from shared.model.runbook import Runbook
from shared.records.runbook import MAX_CHARS, parse

log = logging.getLogger(__name__)
_MAX_BYTES = 4 * MAX_CHARS  # UTF-8 takes at most 4 bytes a character
_Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Read:
    stamp: _Stamp
    runbook: Runbook | None


class FolderLibrary:
    """Reads ``*.md`` of some folders and the folders in them."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Remember the folders.

        Args:
            folders: in order of precedence: the first one that has an id gives the runbook. A missing folder is empty.
        """
        self._folders = tuple(folders)
        self._read: dict[Path, _Read] = {}
        self._lock = Lock()

    def runbooks(self) -> tuple[Runbook, ...]:
        """Every valid runbook, in order of id; each id once."""
        with self._lock:
            found: dict[str, Runbook] = {}
            seen: dict[Path, _Read] = {}
            for path in self._files():
                read = self._look(path)
                if read is None:
                    continue
                seen[path] = read
                if read.runbook is None:
                    continue
                first = found.setdefault(read.runbook.id, read.runbook)
                if first is not read.runbook and self._read.get(path) != read:
                    log.warning("runbook %s is left out: %s has the id %s too", path, first.path, first.id)
            self._read = seen
            return tuple(found[key] for key in sorted(found))

    def _files(self) -> Iterator[Path]:
        for folder in self._folders:
            for path in sorted(folder.rglob("*.md")):
                hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
                if not hidden and path.name.lower() != "readme.md":
                    yield path

    def _look(self, path: Path) -> _Read | None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._read.get(path)
            if known is not None and known.stamp == stamp:
                return known
            if stat.st_size > _MAX_BYTES:
                log.warning("runbook %s is left out: %d bytes are too many", path, stat.st_size)
                return _Read(stamp, None)
            text = path.read_text(encoding="utf-8")
            if not text.startswith(("---", "\ufeff---")):  # reviews share the repository with learned runbooks
                log.info("%s has no front matter and is taken for something else than a runbook", path)
                return _Read(stamp, None)
            return _Read(stamp, parse(text, str(path)))
        except PermanentError as exc:
            log.warning("runbook left out: %s", exc)
            return _Read(stamp, None)
        except UnicodeDecodeError:
            log.warning("runbook left out: %s is no UTF-8", path)
            return _Read(stamp, None)
        except OSError as exc:  # it went away between listing and reading
            log.warning("runbook %s cannot be read: %s", path, exc.strerror)
            return None
