"""Which store the hosts of a stack use, and opening it beside them.

In: the kind of store and where things are. Out: app settings, an open store for a moment, or an error that says what to
do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from local.stack import azurite
from local.stack.places import Places, StackError
from local.stack.recovery import end_leases
from shared.model.errors import ArgusError

KINDS = ("sqlite", "tables")


def keep_kind(places: Places, kind: str) -> None:
    """Refuse a data folder that was begun with another kind of store: its queues and waits speak of other rows.

    Raises:
        StackError: it was, or there is no such kind.
    """
    if kind not in KINDS:
        raise StackError(f"there is no store {kind!r}; known here: {', '.join(KINDS)}")
    before = "sqlite" if places.store.exists() else kind
    if places.store_kind.exists():
        before = places.store_kind.read_text(encoding="utf-8").strip()
    if before != kind:
        raise StackError(
            f"{places.data} was begun with the store {before!r}, and cannot go on with {kind!r}; "
            "name another folder with --data, or remove this one"
        )
    places.store_kind.write_text(kind + "\n", encoding="utf-8")


def settings(places: Places, kind: str, port: int, key: str) -> dict[str, str]:
    """App settings that choose the store; see the section `store` of config/argus.yaml.

    Args:
        port: of Azurite.
        key: of its account.
    """
    if kind == "sqlite":
        return {"ARGUS_STORE_KIND": kind, "ARGUS_STORE": str(places.store)}
    return {"ARGUS_STORE_KIND": kind, "ARGUS_TABLES_CONNECTION": azurite.connection(port, key)}


def end_leases_of(config: Path, environ: Mapping[str, str]) -> None:
    """End the leases of dead hosts in the store of a configuration.

    Raises:
        StackError: the configuration cannot be used, or the store not be read.
    """
    from shared import wiring  # heavy, and a first start has no leases
    from shared.records.versioned import bare

    try:
        store = wiring.open_store(config, environ)
    except ArgusError as error:
        raise StackError(f"the configuration cannot be used:\n{error}") from None
    try:
        end_leases(store)
    except ArgusError as error:
        raise StackError(f"the store cannot be read: {error}") from None
    finally:
        close = getattr(bare(store), "close", None)
        if close is not None:
            close()
