"""Which ARGUS the command line talks to.

In: options, environment, and `.argus/up.json` of a stack started here. Out: addresses and keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UP_FILE = Path(".argus") / "up.json"


class Trouble(Exception):
    """The command cannot be carried out; the text says why, ``hint`` what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Target:
    """One running ARGUS.

    Attributes:
        url: where webhooks and pages answer; no slash at the end.
        keys: keys by source name; ``default`` opens all and reads.
        stats: address of the development broker's statistics; empty elsewhere.
        folder: the data folder of a local stack, or ``None``.
    """

    url: str
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    portal: str = ""
    sandbox: str = ""
    stats: str = ""
    folder: Path | None = None

    def key_for(self, source: str) -> str:
        """The source's own key, or the default one."""
        return self.keys.get(source) or self.keys.get("default", "")


def find(url: str | None, key: str | None, environ: Mapping[str, str], start: Path) -> Target:
    """The target: options win over ``ARGUS_URL`` and ``ARGUS_KEY``, those over a local stack.

    The stack is the one whose data folder ``ARGUS_DATA`` names, else the nearest ``.argus``.

    Args:
        start: folder to look from, upward.

    Raises:
        Trouble: nothing says where ARGUS is.
    """
    url, key = url or environ.get("ARGUS_URL"), key or environ.get("ARGUS_KEY")
    found = _up_file(environ, start)
    up = _read(found) if found is not None else {}
    here = str(up.get("http", "")).rstrip("/")
    if not url and not here:
        raise Trouble(
            "nothing says where ARGUS is",
            "start one with `make up`, or name one: --url http://127.0.0.1:7071 (or the variable ARGUS_URL)",
        )
    local = not url or url.rstrip("/") == here  # another address than the stack's own: its keys are not sent there
    known = up if local else {}
    keys = {str(name): str(value) for name, value in dict(known.get("keys", {})).items()}
    return Target(
        url=(url or here).rstrip("/"),
        keys={"default": key} if key else keys,
        portal=str(known.get("portal", "")).rstrip("/"),
        sandbox=str(known.get("sandbox", "")).rstrip("/"),
        stats=str(known.get("stats", "")).rstrip("/"),
        folder=found.parent if found is not None and local else None,
    )


def folder_of(environ: Mapping[str, str], start: Path) -> Path | None:
    """The data folder of the local stack that is meant, or ``None``."""
    found = _up_file(environ, start)
    return found.parent if found is not None else None


def _up_file(environ: Mapping[str, str], start: Path) -> Path | None:
    named = environ.get("ARGUS_DATA")
    if named:
        return Path(named) / UP_FILE.name if (Path(named) / UP_FILE.name).is_file() else None
    folders = (start, *start.parents)
    return next((folder / UP_FILE for folder in folders if (folder / UP_FILE).is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise Trouble(f"{path} cannot be read", "start the stack again with `make up`; it writes the file anew")
    return content
