"""The JSON of the thin client for Table Storage says what the row says, as the SDK's does."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.stores.tables.payload import body_of, row_of
from shared.model.errors import PermanentError
from shared.ports.store import Row

_VALUES = st.dictionaries(
    st.sampled_from(["a", "b", "text", "Ünï"]),
    st.one_of(
        st.text(st.characters(codec="utf-8"), max_size=30),
        st.integers(-(2**63), 2**63 - 1),
        st.booleans(),
        st.binary(max_size=30),
        st.floats(allow_nan=False),
        st.datetimes(min_value=datetime(1602, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
        st.datetimes(min_value=datetime(1602, 1, 1), timezones=st.just(timezone(timedelta(hours=-7)))).filter(  # noqa: DTZ001
            lambda moment: moment.year < 9999
        ),
    ),
)


@given(partition=st.text(st.characters(codec="utf-8")), key=st.text(st.characters(codec="utf-8")), values=_VALUES)
def test_the_json_of_a_row_says_exactly_the_row(partition: str, key: str, values: dict[str, Any]) -> None:
    body = body_of(partition, key, values)
    assert body.isascii()
    found = row_of("t", json.loads(body), "etag")
    assert found == Row(partition, key, "etag", values)
    assert {name: type(value) for name, value in found.values.items()} == {n: type(v) for n, v in values.items()}


@given(values=_VALUES)
def test_the_json_of_a_row_means_what_the_sdk_s_means(values: dict[str, Any]) -> None:
    from azure.data.tables._serialize import _add_entity_properties

    from shared.adapters.stores.tables.entities import to_entity

    theirs = _add_entity_properties(to_entity("p", "k", values))
    ours = json.loads(body_of("p", "k", values))
    assert ours == {name: value for name, value in theirs.items() if value != "Edm.String"}


def test_numbers_that_are_none_are_kept() -> None:
    entity = json.loads(body_of("p", "k", {"a": float("nan"), "b": float("-inf")}))
    assert entity["a@odata.type"] == "Edm.Double"
    assert (entity["a"], entity["b"]) == ("NaN", "-Infinity")
    found = row_of("t", entity, "").values
    assert found["a"] != found["a"]
    assert found["b"] == float("-inf")


@pytest.mark.parametrize(
    "more",
    [
        {"n@odata.type": "Edm.Guid", "n": "c9da6455-213d-42c9-9a79-3e9149a57833"},
        {"n@odata.type": "Edm.Unheard", "n": "secret"},
        {"n": None},
        {"n": ["secret"]},
        {"n": {"a": "secret"}},
    ],
)
def test_a_type_that_is_never_written_is_damage(more: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=r"^the row t/p/k is damaged$"):
        row_of("t", {"PartitionKey": "p", "RowKey": "k", **more}, "e")
