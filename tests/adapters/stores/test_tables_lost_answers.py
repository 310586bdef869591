"""A whole incident on the Table service, whose answers get lost and which turns requests away: it ends as ever."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.adapters.stores.sqlite import SqliteStore
from shared.adapters.stores.tables.rest import RestService
from shared.adapters.stores.tables.sdk import SdkService
from shared.adapters.stores.tables.settings import Config
from shared.adapters.stores.tables.store import TablesStore
from shared.ports.store import Operation, Page, Row, Table
from tests.adapters.stores.places import PATIENCE_S
from tests.adapters.stores.table_service import Fault, TableService, table_service
from tests.pipeline.test_crashes import assert_whole, end_of, play
from tests.pipeline.world import World

FAULTS = {
    "done, and the answer got lost": Fault(0, done=True),
    "never arrived": Fault(0),
    "done, and then an error": Fault(500, "InternalError", done=True),
    "turned away": Fault(503, "ServerBusy"),
}


@dataclass
class Unlucky:
    """The store as the hosts see it; writes meet a fault now and then."""

    inner: TablesStore
    service: TableService
    chosen: random.Random
    share: float
    met: Counter[str] = field(default_factory=Counter)

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        return self.inner.get(table, partition, key)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        return self.inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        return self.inner.partitions(table)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self._luck()
        return self.inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        self._luck()
        return self.inner.transact(table, partition, operations)

    def _luck(self) -> None:
        if self.chosen.random() < self.share:
            name = self.chosen.choice(sorted(FAULTS))
            self.met[name] += 1
            self.service.faults.append(FAULTS[name])


@pytest.mark.parametrize(("client", "seed"), [(RestService, 0), (RestService, 1), (SdkService, 0)])
def test_H5_H6_lost_answers_end_the_same_and_nothing_happens_twice(
    tmp_path: Path, client: type[RestService] | type[SdkService], seed: int
) -> None:
    calm = World(SqliteStore(tmp_path / "store.db"))
    play(calm)
    with table_service() as service:
        for table in Table:
            service.rows.create(table)
        rows = TablesStore(client(Config(connection=service.connection, connect_s=PATIENCE_S, read_s=PATIENCE_S)))
        world = World(rows)
        unlucky = Unlucky(rows, service, random.Random(seed), 0.3)
        world.store.inner = unlucky
        play(world)
        assert not service.faults
        assert unlucky.met["done, and the answer got lost"] >= 2, "else nothing was tried"
        assert end_of(world) == end_of(calm), unlucky.met
        assert_whole(world)
        rows.close()
