"""Every store against a dictionary that does what the contract says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters.stores import STORES
from shared.ports.store import Conflict, ConflictKind, Delete, Insert, Operation, Replace, Store, Upsert
from tests.adapters.stores import places
from tests.contracts.test_store import T

_VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.one_of(
        st.text(st.characters(codec="utf-16"), max_size=20),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.binary(max_size=20),
        st.floats(allow_nan=False),
        st.datetimes(min_value=datetime(1602, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    ),
    max_size=3,
)
_KEYS = st.sampled_from(["k", "k2", "ä", "timeline|1", "😀"])
_OPERATIONS = st.lists(
    st.one_of(
        st.builds(Insert, _KEYS, _VALUES),
        st.builds(Upsert, _KEYS, _VALUES),
        st.builds(Replace, _KEYS, _VALUES, st.sampled_from([None, "current", "stale"])),
        st.builds(Delete, _KEYS, st.sampled_from([None, "current", "stale"])),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda operation: operation.key,
)


class Model:
    """A store as a dictionary: what the contract says, in the fewest words."""

    def __init__(self) -> None:
        self.rows: dict[str, Mapping[str, Any]] = {}

    def transact(self, operations: list[Operation]) -> tuple[str, ConflictKind] | None:
        after = dict(self.rows)
        for operation in operations:
            there = operation.key in self.rows
            if isinstance(operation, Insert) and there:
                return operation.key, ConflictKind.EXISTS
            if isinstance(operation, Replace | Delete):
                if not there:
                    return operation.key, ConflictKind.MISSING
                if operation.etag == "stale":
                    return operation.key, ConflictKind.CHANGED
            if isinstance(operation, Delete):
                del after[operation.key]
            else:
                after[operation.key] = operation.values
        self.rows = after
        return None


def holds(name: str, root: Path, steps: list[list[Operation]]) -> None:
    with places.place(name, root) as where:
        rows, model = places.opened(name, where), Model()
        for step in steps:
            expected = model.transact(step)
            try:
                rows.transact(T, "p", [with_etag(rows, operation) for operation in step])
                refused = None
            except Conflict as conflict:
                refused = conflict.row_key, conflict.kind
            assert refused == expected
            found = {row.key: row.values for row in rows.query(T, "p").rows}
            assert found == model.rows
            assert list(found) == sorted(found, key=lambda key: key.encode("utf-16-be"))
        places.close(rows)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(_OPERATIONS, min_size=1, max_size=8))
def test_sqlite_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[Operation]]
) -> None:
    holds("sqlite", tmp_path_factory.mktemp("model"), steps)


@settings(max_examples=60 if places.REAL_TABLES else 20, deadline=None)
@given(steps=st.lists(_OPERATIONS, min_size=1, max_size=8))
def test_tables_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[Operation]]
) -> None:
    holds("tables", tmp_path_factory.mktemp("model"), steps)


@settings(max_examples=60 if places.REAL_TABLES else 10, deadline=None)
@given(steps=st.lists(_OPERATIONS, min_size=1, max_size=8))
def test_tables_sdk_behaves_like_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[Operation]]
) -> None:
    holds("tables-sdk", tmp_path_factory.mktemp("model"), steps)


def test_every_registered_store_is_held_to_the_model() -> None:
    end = "_behaves_like_a_dictionary"
    tested = {name.removeprefix("test_").removesuffix(end) for name in globals() if name.endswith(end)}
    assert tested == {name.replace("-", "_") for name in places.VARIANTS}
    assert set(STORES) == set(places.KNOWN)


def with_etag(rows: Store, operation: Operation) -> Operation:
    if isinstance(operation, Insert | Upsert) or operation.etag != "current":
        return operation
    row = rows.get(T, "p", operation.key)
    etag = row.etag if row else "none"
    if isinstance(operation, Delete):
        return Delete(operation.key, etag)
    return Replace(operation.key, operation.values, etag)
