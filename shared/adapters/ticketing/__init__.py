"""Ticket systems; one registry line each."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.registry import Adapter
from shared.adapters.ticketing import servicenow
from shared.ports.ticketing import Ticketing

TICKETING: Mapping[str, Adapter[Ticketing]] = {
    "servicenow": Adapter(servicenow.ServiceNowConfig, servicenow.build),
}
