"""Queue messages in the shape the Functions host hands to the worker.

In: message bodies and their broker properties. Out: the library's `ServiceBusMessage`, one or a list. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import azure.functions as func
from azure.functions.meta import Datum

from local.host.converters import converter

_NUMBERS = {"DeliveryCount", "SequenceNumber", "EnqueuedSequenceNumber", "State"}


@dataclass(frozen=True, slots=True)
class Received:
    """A locked message.

    Attributes:
        body: raw bytes.
        properties: trigger metadata by the extension's names; None values are left out of single messages.
        locked_until: aware datetime.
        handle: what its source needs to settle it.
    """

    body: bytes
    properties: Mapping[str, Any]
    locked_until: datetime
    handle: object

    @property
    def trace(self) -> tuple[str, str]:
        """traceparent and tracestate of the sender, empty when it sent none."""
        own = self.properties.get("ApplicationProperties") or {}
        parent = own.get("traceparent") or own.get("Diagnostic-Id") or ""
        return str(parent), str(own.get("tracestate") or "")


def _datum(name: str, value: object) -> Datum:
    if name in _NUMBERS and isinstance(value, int):
        return Datum(value, "int")
    if isinstance(value, str):
        return Datum(value, "string")
    return Datum(json.dumps(value, default=str), "json")


def _with_user_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    own = properties.get("ApplicationProperties") or {}
    return {**properties, "ApplicationProperties": own, "UserProperties": own}


def decode_one(message: Received) -> func.ServiceBusMessage:
    """The value of a trigger with cardinality one."""
    properties = _with_user_properties(message.properties)
    metadata = {name: _datum(name, value) for name, value in properties.items() if value is not None}
    convert = converter("serviceBusTrigger")
    decoded: func.ServiceBusMessage = convert.decode(Datum(message.body, "bytes"), trigger_metadata=metadata)
    return decoded


def decode_many(messages: Sequence[Received]) -> list[func.ServiceBusMessage]:
    """The value of a trigger with cardinality many; same order."""
    rows = [_with_user_properties(message.properties) for message in messages]
    names = sorted({name for row in rows for name in row})
    metadata = {
        f"{name}Array": Datum(json.dumps([row.get(name) for row in rows], default=str), "json") for name in names
    }
    bodies = SimpleNamespace(bytes=[message.body for message in messages])
    convert = converter("serviceBusTrigger")
    decoded: list[func.ServiceBusMessage] = convert.decode(Datum(bodies, "collection_bytes"), trigger_metadata=metadata)
    return decoded
