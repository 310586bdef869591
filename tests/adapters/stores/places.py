"""A place for every registered store, for tests that hold all of them to one contract.

In: the name of a store or of one of its variants. Out: settings that open it, again and again and from several
processes. The Table service is the stand-in, unless ``ARGUS_TEST_TABLES`` holds the connection string of another one
(`python -m tests.contracts.azurite`).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.adapters.registry import Surroundings
from shared.adapters.stores import STORES
from shared.ports.store import Store
from tests.adapters.stores.table_service import table_service

REAL_TABLES = os.environ.get("ARGUS_TEST_TABLES", "")
# Name of the store, and settings on top: two clients of one service keep one contract.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqlite": ("sqlite", {}),
    "tables": ("tables", {}),
    "tables-sdk": ("tables", {"client": "sdk"}),
}
KNOWN = tuple(sorted({kind for kind, _ in VARIANTS.values()}))
PATIENCE_S = 20.0


@contextmanager
def place(name: str, root: Path) -> Iterator[dict[str, Any]]:
    """Settings of an empty store.

    Args:
        root: an empty folder.
    """
    if name == "sqlite":
        yield {"path": str(root / "store.db"), "busy_s": PATIENCE_S}
        return
    patient = {"connect_s": PATIENCE_S, "read_s": PATIENCE_S, **VARIANTS[name][1]}
    if REAL_TABLES:
        yield {"connection": REAL_TABLES, "table_prefix": f"t{secrets.token_hex(5)}", **patient}
        return
    with table_service() as service:
        yield {"connection": service.connection, **patient}


def opened(name: str, settings: dict[str, Any]) -> Store:
    kind = VARIANTS[name][0]
    adapter = STORES[kind]
    return adapter.build(kind, adapter.config.model_validate(settings), Surroundings(root=Path("/")))


def close(store: Store) -> None:
    closing = getattr(store, "close", None)
    if closing:
        closing()
