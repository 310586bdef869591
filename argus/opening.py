"""The store and the anchor themselves, for commands that go past every page and interface.

In: options, environment, and the data folder of a local stack. Out: the store its hosts use, and the heads file.
"""

from __future__ import annotations

import getpass
import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argus.target import Trouble, folder_of
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.stores.sqlite import SqliteStore
from shared.config.load import ConfigError, read
from shared.config.schema import Host, Retention
from shared.model.errors import ArgusError
from shared.ports.store import Store
from shared.records.versioned import bare


@dataclass(frozen=True, slots=True)
class Opened:
    """What a command works on.

    Attributes:
        config: the configuration file; ``None`` for the default one.
        environ: with the settings of the local stack, where there is one.
        anchor: ``None`` when nothing says where heads are kept.
    """

    store: Store
    config: Path | None
    environ: Mapping[str, str]
    anchor: AnchorFile | None


def opened(args: Namespace, environ: Mapping[str, str], start: Path, new: bool = False) -> Opened:
    """Open the store.

    Args:
        new: it may be one that does not exist yet.

    Raises:
        Trouble: it cannot be opened, or there is none.
    """
    from shared import wiring  # heavy: most commands only talk to the portal

    folder = folder_of(environ, start)
    environ = {**_settings(folder), **environ}
    named = args.config or environ.get("ARGUS_CONFIG")
    config = Path(named) if named else None
    try:
        store = wiring.open_store(config, environ)
    except ConfigError as exc:
        raise Trouble(f"the configuration cannot be used:\n{exc}", "name another one with --config") from exc
    except ArgusError as exc:
        raise Trouble(f"the store cannot be opened: {exc}") from exc
    file = environ.get("ARGUS_STORE", "")
    if file and not new and isinstance(bare(store), SqliteStore) and not Path(file).is_file():
        # Reading it would make an empty one, in which nothing is broken.
        raise Trouble(f"there is no store at {file}", "it was moved or removed; `make up` begins a new one")
    heads = environ.get("ARGUS_HEADS") or (str(folder / "heads.jsonl") if folder else "")
    return Opened(store, config, environ, AnchorFile(Path(heads)) if heads else None)


def sections(found: Opened) -> tuple[Retention, Host]:
    """The sections that say how long things are kept; the rest of the configuration may be wrong or not set.

    Raises:
        Trouble: one of the two cannot be used.
    """
    from shared import wiring

    document = read(found.config or wiring.DEFAULT_CONFIG, found.environ)
    chosen = {}
    for name, kind in (("retention", Retention), ("host", Host)):
        chosen[name] = document.validate(kind, document.data.get(name, {}), (name,))
    problems = [problem for problem in document.problems if problem.path.split(".")[0] in chosen]
    retention, host = chosen["retention"], chosen["host"]
    if problems or not isinstance(retention, Retention) or not isinstance(host, Host):
        raise Trouble(f"the configuration cannot be used:\n{ConfigError(problems)}", "name another one with --config")
    return retention, host


def person(args: Namespace) -> str:
    """Who gives the command: as it says, else the account it runs under."""
    try:
        return str(args.user or getpass.getuser())
    except (KeyError, OSError):
        return ""


def _settings(folder: Path | None) -> dict[str, str]:
    """App settings of a local stack, so that the same store is opened that its hosts use."""
    file = folder / "settings.json" if folder is not None else None
    if file is None or not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))["Values"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise Trouble(
            f"{file} cannot be read", "start the stack again with `make up`; it writes the file anew"
        ) from exc
    return {str(name): str(value) for name, value in dict(values).items()}
