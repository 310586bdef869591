"""How an adapter introduces itself to wiring, the same for every family.

In: nothing. Out: the shape of a registry line and what an adapter may know about its surroundings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from shared.config.schema import Section, Service

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter may know beyond its own section.

    Attributes:
        root: application folder; relative paths of sections start here.
        portal_url: address people reach the portal at, without a slash at the end.
        services: configured services, by name, to tell whose a resource is.
    """

    root: Path
    portal_url: str = ""
    services: Mapping[str, Service] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adapter(Generic[T]):
    """One registry line.

    Attributes:
        config: the section's model; refuses unknown settings and keeps secrets as ``SecretStr``.
        build: makes the adapter from (configured name, validated section, surroundings). It opens no connection and
            imports heavy SDKs only when they are first needed.
    """

    config: type[Section]
    build: Callable[[str, Any, Surroundings], T]
