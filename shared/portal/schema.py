"""The JSON schema of the JSON interface, made from the types it answers with.

In: the read model's dataclasses. Out: JSON Schema 2020-12; `python -m shared.portal.schema` prints it for the docs.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin

from shared.model.incident import Incident
from shared.portal.kept import HeldList, QuarantineDetail, QuarantineList
from shared.portal.read_model import AlertList, IncidentList, IncidentView, SearchAnswer
from shared.portal.status import StatusView
from shared.portal.storm_view import BrakeView

ANSWERS: Mapping[str, type] = {
    "GET /api/incidents": IncidentList,
    "GET /api/incidents/{id}": IncidentView,
    "GET /api/alerts": AlertList,
    "GET /api/search": SearchAnswer,
    "GET /api/status": StatusView,
    "GET /api/quarantine": QuarantineList,
    "GET /api/quarantine/{id}": QuarantineDetail,
    "GET /api/held": HeldList,
    "GET /api/brake": BrakeView,
}
_PLAIN: Mapping[type, Mapping[str, object]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    float: {"type": ["number", "null"]},  # JSON has no infinity; such a measurement is null
    datetime: {"type": "string", "format": "date-time"},
}


def schema() -> dict[str, Any]:
    """One document for all answers; each is a definition under ``$defs`` by the name of its type."""
    found: dict[str, Any] = {}
    for answer in ANSWERS.values():
        _of(answer, found)
    _flatten(found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ARGUS JSON interface",
        "description": "; ".join(f"{address} answers {answer.__name__}" for address, answer in ANSWERS.items()),
        "oneOf": [{"$ref": f"#/$defs/{answer.__name__}"} for answer in ANSWERS.values()],
        "$defs": dict(sorted(found.items())),
    }


def _flatten(found: dict[str, Any]) -> None:
    """The answer about one incident carries the incident's fields itself (`json_api.flat`)."""
    view, incident = found[IncidentView.__name__], found[Incident.__name__]
    beside = {name: value for name, value in view["properties"].items() if name != "incident"}
    view["properties"] = {**incident["properties"], **beside}
    view["required"] = list(view["properties"])


def of_answer(answer: type) -> dict[str, Any]:
    """The schema of one answer alone."""
    whole = schema()
    return {"$schema": whole["$schema"], "$ref": f"#/$defs/{answer.__name__}", "$defs": whole["$defs"]}


def _of(kind: Any, found: dict[str, Any]) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(option, found) for option in get_args(kind)]}
    if origin is tuple:
        return {"type": "array", "items": _of(get_args(kind)[0], found)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _of(get_args(kind)[1], found)}
    if kind is type(None):
        return {"type": "null"}
    if kind in _PLAIN:
        return dict(_PLAIN[kind])
    if issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    name = kind.__name__
    if name not in found:
        found[name] = {}  # reserved, so that a type that holds itself would end here
        hints = typing.get_type_hints(kind)
        properties = {field.name: _of(hints[field.name], found) for field in dataclasses.fields(kind)}
        found[name] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().splitlines()[0],
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}


def text() -> str:
    """The document with one definition a line, so that a change shows as a change of one line."""
    whole = schema()
    definitions = whole.pop("$defs")
    head = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in whole.items()]
    lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in definitions.items()]
    return "\n".join(["{", *head, '"$defs": {', ",\n".join(lines), "}", "}"]) + "\n"


if __name__ == "__main__":
    print(text(), end="")
