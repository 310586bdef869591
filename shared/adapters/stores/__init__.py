"""Where rows are kept, by the name the configuration uses."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.registry import Adapter
from shared.adapters.stores import sqlite
from shared.adapters.stores.tables import store as tables
from shared.ports.store import Store

STORES: Mapping[str, Adapter[Store]] = {"sqlite": sqlite.ADAPTER, "tables": tables.ADAPTER}
