"""A purge of a world that lives, and everything that is in its store before and after.

In: a store and a time. Out: tallies by rule, and rows by place.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from shared.config.schema import Retention
from shared.ports.store import Store, Table
from shared.records import incidents
from shared.records.retention import Rules, Tally, rules_of
from shared.records.retention_run import Order, run

DAY = timedelta(days=1)
RULE = {"kind": "threshold", "metric": "latency_ms", "service": "shop", "above": 500}
Content = dict[tuple[str, str, str], tuple[str, dict[str, Any]]]


def rules(**changes: Any) -> Rules:
    return rules_of(Retention.model_validate(changes), 24)


def purge(store: Store, now: datetime, dry: bool = False, chosen: Rules | None = None) -> dict[str, Tally]:
    tallies = run(store, chosen or rules(), Order(now, lambda: now, dry))
    return {tally.rule: tally for tally in tallies}


def content(store: Store, but: str = "system-") -> Content:
    """Every row with its ETag, but those of system chains."""
    return {
        (str(table), row.partition, row.key): (row.etag, dict(row.values))
        for table in Table
        for partition in store.partitions(table)
        if not partition.startswith(but)
        for row in incidents.rows(store, partition, "", table)
    }


def kinds(rows: Content, incident_id: str) -> set[str]:
    return {key.partition("|")[0] for table, partition, key in rows if (table, partition) == ("incidents", incident_id)}
