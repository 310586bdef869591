"""Hands a body to a registered source, as the collector would."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.config.schema import Service
from shared.model.signal import Signal
from shared.ports.source import Delivery, Source

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def source(name: str, services: dict[str, Any] | None = None, **section: Any) -> Source:
    adapter = SOURCES[name]
    known = {service: Service.model_validate(entry) for service, entry in (services or {}).items()}
    return adapter.build(name, adapter.config.model_validate(section), Surroundings(Path("/nowhere"), services=known))


def parsed(
    name: str,
    body: Any,
    services: dict[str, Any] | None = None,
    received_at: str | datetime = NOW,
    **section: Any,
) -> tuple[Signal, ...]:
    now = datetime.fromisoformat(received_at) if isinstance(received_at, str) else received_at
    reader = source(name, services, **section)
    digest = hashlib.sha256(json.dumps(body, default=str).encode()).hexdigest()
    return reader.parse(Delivery(body, {}, reader.receipt(body, {}, digest, now), now, "payload-1"))
