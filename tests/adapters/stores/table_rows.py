"""What the Table service keeps and refuses, as the stand-in does it.

In: one request's parts. Out: entities, or a `Refusal` with the service's status and code.

Source: learn.microsoft.com/rest/api/storageservices/table-service-rest-api and .../table-service-error-codes.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

Entity = dict[str, Any]
_KEY = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_ETAG = re.compile(r"W/\"datetime'[^'\"]+'\"")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")
_CLAUSE = re.compile(r"(PartitionKey|RowKey) (eq|ge|gt|lt|le) '((?:[^']|'')*)'")
_SAYS: dict[str, tuple[int, str]] = {
    "TableNotFound": (404, "The table specified does not exist."),
    "ResourceNotFound": (404, "The specified resource does not exist."),
    "EntityAlreadyExists": (409, "The specified entity already exists."),
    "TableAlreadyExists": (409, "The table specified already exists."),
    "UpdateConditionNotSatisfied": (412, "The update condition specified in the request was not satisfied."),
    "RequestBodyTooLarge": (413, "The request body is too large."),
}


class Refusal(Exception):
    """The service says no."""

    def __init__(self, code: str, status: int = 0, text: str = "") -> None:
        super().__init__(code)
        known = _SAYS.get(code, (400, "One of the request inputs is not valid."))
        self.code, self.status, self.text = code, status or known[0], text or known[1]


@dataclass(slots=True)
class Rows:
    """The tables of one account; names differ not by case."""

    tables: dict[str, dict[tuple[bytes, bytes], Entity]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _ticks: int = 0

    def create(self, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]{2,62}", name):
            raise Refusal("InvalidResourceName")
        with self.lock:
            if name.lower() in self.tables:
                raise Refusal("TableAlreadyExists")
            self.tables[name.lower()] = {}

    def find(self, table: str, partition: str, key: str) -> Entity:
        with self.lock:
            found = self._table(table).get(_place(partition, key))
            if found is None:
                raise Refusal("ResourceNotFound")
            return found

    def insert(self, table: str, entity: Entity) -> str:
        place = _place(*_checked(entity))
        with self.lock:
            if place in self._table(table):
                raise Refusal("EntityAlreadyExists")
            return self._put(table, place, entity)

    def replace(self, table: str, partition: str, key: str, entity: Entity, etag: str | None) -> str:
        """Without an ETag it creates the row too."""
        if _checked({**entity, "PartitionKey": partition, "RowKey": key}) != (partition, key):
            raise Refusal("InvalidInput")
        place = _place(partition, key)
        with self.lock:
            rows = self._table(table)
            if etag is not None:
                _allow(rows.get(place), etag)
            return self._put(table, place, {**entity, "PartitionKey": partition, "RowKey": key})

    def delete(self, table: str, partition: str, key: str, etag: str | None) -> None:
        if etag is None:
            raise Refusal("MissingRequiredHeader")
        with self.lock:
            rows, place = self._table(table), _place(partition, key)
            _allow(rows.get(place), etag)
            del rows[place]

    def query(
        self, table: str, text: str, top: int, after: tuple[bytes, bytes] | None
    ) -> tuple[list[Entity], tuple[bytes, bytes] | None]:
        """Up to ``top`` entities in key order, and the key the next page begins at."""
        fits = _filter(text)
        if not 1 <= top <= 1000:
            raise Refusal("InvalidInput")
        with self.lock:
            rows = self._table(table)
            places = sorted(place for place in rows if (after is None or place >= after) and fits(place))
            found = [rows[place] for place in places[:top]]
        return found, places[top] if len(places) > top else None

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that happens within, or nothing."""
        with self.lock:
            before = {name: dict(rows) for name, rows in self.tables.items()}
            try:
                yield
            except Refusal:
                self.tables = before
                raise

    def _table(self, name: str) -> dict[tuple[bytes, bytes], Entity]:
        try:
            return self.tables[name.lower()]
        except KeyError:
            raise Refusal("TableNotFound") from None

    def _put(self, table: str, place: tuple[bytes, bytes], entity: Entity) -> str:
        self._ticks += 1
        moment = f"2026-11-20T10:{self._ticks // 600_000_000:02}:{self._ticks // 10_000_000 % 60:02}"
        moment += f".{self._ticks % 10_000_000:07}Z"
        etag = f"W/\"datetime'{quote(moment, safe='')}'\""
        self._table(table)[place] = {**entity, "Timestamp": moment, "odata.etag": etag}
        return etag


def units(text: str) -> bytes:
    """What keys are sorted by: UTF-16 units."""
    return text.encode("utf-16-be", "surrogatepass")


def _place(partition: str, key: str) -> tuple[bytes, bytes]:
    return units(partition), units(key)


def _allow(found: Entity | None, etag: str) -> None:
    if etag != "*" and not _ETAG.fullmatch(etag):
        raise Refusal("InvalidInput", text="The etag value specified in one of the request headers is not valid.")
    if found is None:
        raise Refusal("ResourceNotFound")
    if etag not in ("*", found["odata.etag"]):
        raise Refusal("UpdateConditionNotSatisfied")


def _filter(text: str) -> Callable[[tuple[bytes, bytes]], bool]:
    clauses: list[tuple[int, str, bytes]] = []
    rest = text
    while rest:
        found = _CLAUSE.match(rest)
        if not found:
            raise Refusal("InvalidInput", text="The filter cannot be read.")
        field_, verb, value = found.groups()
        clauses.append((0 if field_ == "PartitionKey" else 1, verb, units(value.replace("''", "'"))))
        rest = rest[found.end() :]
        if rest and not rest.startswith(" and "):
            raise Refusal("InvalidInput", text="The filter cannot be read.")
        rest = rest.removeprefix(" and ")

    def fits(place: tuple[bytes, bytes]) -> bool:
        for number, verb, value in clauses:
            key = place[number]
            if not {
                "eq": key == value, "ge": key >= value, "gt": key > value, "lt": key < value, "le": key <= value
            }[verb]:  # fmt: skip
                return False
        return True

    return fits


def _checked(entity: Entity) -> tuple[str, str]:
    """The keys of an entity that the service would take."""
    try:
        partition, key = entity["PartitionKey"], entity["RowKey"]
    except KeyError:
        raise Refusal("PropertiesNeedValue") from None
    size = 4
    for text in (partition, key):
        if not isinstance(text, str) or _KEY.search(text):
            raise Refusal("OutOfRangeInput")
        if len(units(text)) > 1024:
            raise Refusal("KeyValueTooLarge")
        size += len(units(text))
    names = [name for name in entity if not name.endswith("@odata.type") and name not in ("PartitionKey", "RowKey")]
    if len(names) > 252:
        raise Refusal("TooManyProperties")
    for name in names:
        if not name.isidentifier() or len(name) > 255 or name == "Timestamp":
            raise Refusal("PropertyNameInvalid")
        size += 8 + len(units(name)) + _size(entity[name], entity.get(f"{name}@odata.type"))
    if size > 1024 * 1024:
        raise Refusal("EntityTooLarge")
    return partition, key


def _size(value: object, kind: str | None) -> int:
    if kind == "Edm.Binary":
        size = 4 + len(base64.b64decode(str(value), validate=True))
    elif kind == "Edm.Int64":
        if not isinstance(value, str) or not -(2**63) <= int(value) < 2**63:
            raise Refusal("InvalidValueType")
        size = 8
    elif kind == "Edm.DateTime":
        if not _TIME.fullmatch(str(value)) or datetime.fromisoformat(str(value)[:19]).year < 1601:
            raise Refusal("OutOfRangeInput")
        size = 8
    elif kind == "Edm.Double" or isinstance(value, bool | int | float):
        size = 8
    elif isinstance(value, str) and kind in (None, "Edm.String"):
        size = 4 + len(units(value))
    else:
        raise Refusal("InvalidInput")
    if size > 4 + 64 * 1024:
        raise Refusal("PropertyValueTooLarge")
    return size


def shown(entity: Entity, select: str) -> Entity:
    """An entity as it is answered with minimal metadata."""
    names = select.split(",") if select else list(entity)
    told: Entity = {"odata.etag": entity["odata.etag"]}
    for name in names:
        if name not in entity or name.endswith("@odata.type") or name == "odata.etag":
            continue
        kind, value = entity.get(f"{name}@odata.type"), entity[name]
        told[name] = value
        if kind == "Edm.DateTime" and "." in value:
            told[name] = value.rstrip("Z0").rstrip(".") + "Z"
        if kind in ("Edm.Binary", "Edm.Int64", "Edm.DateTime", "Edm.Guid") or (
            kind == "Edm.Double" and isinstance(value, str)
        ):
            told[f"{name}@odata.type"] = kind
    return told


def read_entity(body: bytes) -> Entity:
    try:
        entity = json.loads(body)
    except ValueError:
        raise Refusal("InvalidInput") from None
    if not isinstance(entity, dict):
        raise Refusal("InvalidInput")
    return {name: value for name, value in entity.items() if value is not None}
