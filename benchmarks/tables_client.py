"""Processor time of the two clients for Table Storage: ``python -m benchmarks tables``.

In: options; Azurite (npm installs it at first use), or another Table service. Out: milliseconds of this process per
call for the thin client and for azure-data-tables, medians, in turn against the same service; exit code 1 when the thin
one costs more than half.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.load.tables import Figure, Table, machine
from benchmarks.ports import free_port
from local.stack import azurite
from local.stack.places import StackError
from shared.adapters.registry import Surroundings
from shared.adapters.stores import STORES
from shared.model.errors import TransientError
from shared.ports.store import Insert, Operation, Properties, Replace, Store
from shared.ports.store import Table as Rows

T = Rows.INCIDENTS
CLIENTS = ("thin", "sdk")
CALLS, QUICK_CALLS = 200, 10
TOGETHER = 100
MOST = 0.5
START_S = 60.0
PATIENCE_S = 20.0
VALUES: Properties = {
    "text": "a" * 700,
    "count": 7,
    "at": datetime(2026, 11, 21, 8, tzinfo=UTC),
    "open": True,
    "raw": b"x" * 64,
}  # 0.8 KB

Timed = Mapping[str, float]


def main(arguments: Sequence[str]) -> int:
    """Command line entry; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tables", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each client, in turn (5)")
    parser.add_argument("--quick", action="store_true", help="few calls, once: is everything in place?")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON too")
    parser.add_argument(
        "--service",
        metavar="NAME",
        help="environment variable with the connection string of a Table service that is used in place of Azurite",
    )
    given = parser.parse_args(arguments)
    try:
        with _service(given.service) as connection:
            table = _compared(connection, 1 if given.quick else given.runs, QUICK_CALLS if given.quick else CALLS)
    except (StackError, TransientError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(table.text(), end="\n\n")
    print(machine())
    if given.json:
        text = json.dumps({"machine": machine(), "tables": [table.data()]}, indent=1)
        Path(given.json).write_text(text + "\n", encoding="utf-8")
    return 0 if table.held or given.quick else 1


@contextmanager
def _service(variable: str | None) -> Iterator[str]:
    """The connection string of a Table service; Azurite in memory unless another is named."""
    if variable:
        if not os.environ.get(variable):
            raise StackError(f"the environment variable {variable} is not set")
        yield os.environ[variable]
        return
    key, port = secrets.token_hex(16), free_port()
    script = azurite.install(lambda text: print(text, file=sys.stderr, flush=True))
    node = azurite.start_node(script, port, key, None)
    try:
        yield azurite.connection(port, key)
    finally:
        azurite.stop_node(node)


def _compared(connection: str, runs: int, calls: int) -> Table:
    found: dict[str, list[Timed]] = {client: [] for client in CLIENTS}
    prefix = f"b{secrets.token_hex(5)}"
    stores = {client: _opened(connection, client, prefix) for client in CLIENTS}
    try:
        for client, store in stores.items():
            _warm(store, client)
        for run in range(runs):
            for client in CLIENTS if run % 2 else reversed(CLIENTS):
                found[client].append(_run(stores[client], f"{client}{run}", calls))
    finally:
        for store in stores.values():
            getattr(store, "close", lambda: None)()
    title = f"Clients for Table Storage: processor time of the client per call, {calls} calls each, rows of 0.8 KB"
    table = Table(title, runs, names=("thin", "azure-data-tables"))
    for name in found["thin"][0]:
        thin, sdk = ([timed[name] for timed in found[client]] for client in CLIENTS)
        table.figures.append(Figure(name, "ms", thin, sdk, MOST, ratio=True))
    return table


def _opened(connection: str, client: str, prefix: str) -> Store:
    settings = {"connection": connection, "client": client, "table_prefix": prefix}
    config = STORES["tables"].config.model_validate({**settings, "connect_s": PATIENCE_S, "read_s": PATIENCE_S})
    return STORES["tables"].build("tables", config, Surroundings(root=Path("/")))


def _warm(store: Store, client: str) -> None:
    """First calls: the service may still be starting; imports, connections, the table itself."""
    until = time.monotonic() + START_S
    while True:
        try:
            store.write(T, f"warm-{client}", Insert("0", VALUES))
            break
        except TransientError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
    _run(store, f"warm-{client}-", 3)


def _run(store: Store, partition: str, calls: int) -> Timed:
    """Milliseconds of processor time per call, by what was called."""
    etags: list[str] = []
    singles = range(calls)
    bulks = range(max(1, calls // 20))

    def insert(number: int) -> None:
        etags.append(store.write(T, partition, Insert(f"{number:05}", VALUES)))

    def get(number: int) -> None:
        assert store.get(T, partition, f"{number:05}") is not None

    def replace(number: int) -> None:
        store.write(T, partition, Replace(f"{number:05}", VALUES, etags[number]))

    def transact(number: int) -> None:
        operations: list[Operation] = [Insert(f"{row:05}", VALUES) for row in range(TOGETHER)]
        store.transact(T, f"{partition}-{number}", operations)

    def query(number: int) -> None:
        assert len(store.query(T, f"{partition}-{number}", start="0", below="1", limit=TOGETHER).rows) == TOGETHER

    return {
        "insert": _each(insert, singles),
        "get": _each(get, singles),
        "replace with ETag": _each(replace, singles),
        f"transaction of {TOGETHER} inserts": _each(transact, bulks),
        f"query of {TOGETHER} rows": _each(query, bulks),
    }


def _each(call: Callable[[int], None], numbers: range) -> float:
    began = time.process_time()
    for number in numbers:
        call(number)
    return 1000 * (time.process_time() - began) / len(numbers)
