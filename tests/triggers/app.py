"""The function app as a host sees it, with fakes behind its ports.

In: roles and ports. Out: functions by name, and HTTP requests and answers through the library's own converters.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest
from azure.functions.meta import Datum

from local.host.loader import FunctionSpec, import_app, load_functions
from shared import wiring
from shared.adapters.identity.development import DevelopmentSignIn
from shared.adapters.registry import Surroundings
from shared.adapters.sources import SOURCES
from shared.adapters.stores.anchor_file import AnchorFile
from shared.config.schema import Settings
from shared.dispatch import Engine
from shared.portal import Portal
from shared.ports.store import Store
from tests import fakes
from tests.portal.world import PEOPLE, Clock

ROOT = Path(__file__).parents[2]
KEYS = {"default": "key-of-everything", "azure_monitor": "key-of-azure-monitor", "alertmanager": "schlüssel-mit-ü-☃"}


@dataclass
class BlockedBus(fakes.FakeBus):
    """A bus that never answers, until it is let go."""

    gate: Any = None
    asked: int = 0

    def send(self, queue: Any, messages: Any) -> None:
        """See the port."""
        self.asked += 1
        assert self.gate.wait(60)
        super().send(queue, messages)


@dataclass
class Answer:
    """What the host would send."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Desk:
    """An app of fakes; ``app`` is what triggers get from wiring."""

    store: Store
    bus: fakes.FakeBus = field(default_factory=fakes.FakeBus)
    keys: Mapping[str, str] = field(default_factory=lambda: dict(KEYS))
    overrides: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock()
        portal = {"base_url": "http://127.0.0.1:7071", "session_secret": "only-for-tests-0123456789abcdef0123"}
        self.settings: Settings = fakes.settings(portal={**portal, "keys": dict(self.keys)}, people=PEOPLE)
        near = Surroundings(ROOT, "http://127.0.0.1:7071", self.settings.services)
        sources = {name: SOURCES[name].build(name, SOURCES[name].config(), near) for name in sorted(SOURCES)}
        self.ports = fakes.ports(self.store, self.settings, bus=self.bus, sources=sources, **self.overrides)
        engine = Engine(self.ports, wiring.WORKERS, self.clock, lambda: 0.5, lambda: "invocation")
        door = DevelopmentSignIn(self.settings, "", self.clock)
        anchor = AnchorFile(Path(os.devnull))
        self.app = wiring.App(engine, Portal(self.ports, door, door, self.clock), anchor)


def load(monkeypatch: pytest.MonkeyPatch, app: wiring.App, roles: str = "edge,core,exec") -> dict[str, FunctionSpec]:
    """Functions by name, loaded from `function_app.py` as the host does."""
    monkeypatch.setenv("ARGUS_ROLES", roles)
    # Triggers get everything from this one function; there is no other door to hand them fakes through.
    monkeypatch.setattr(wiring, "app", lambda: app)
    monkeypatch.syspath_prepend(str(ROOT))
    return {spec.name: spec for spec in load_functions(import_app(ROOT), ROOT)}


async def ask(
    spec: FunctionSpec,
    method: str = "POST",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    **params: str,
) -> Answer:
    """Call an HTTP function through the library's converters."""

    def texts(values: Mapping[str, str]) -> dict[str, Datum]:
        return {name: Datum(value, "string") for name, value in values.items()}

    request = {
        "method": Datum(method, "string"),
        "url": Datum("http://127.0.0.1:7071/", "string"),
        "headers": texts({"host": "127.0.0.1:7071", **{name.lower(): v for name, v in (headers or {}).items()}}),
        "query": texts(query or {}),
        "params": texts(params),
        "body": Datum(body, "bytes"),
    }
    converters = func.get_binding_registry()
    given = converters.get("httpTrigger").decode(Datum(request, "http"), trigger_metadata=None)
    result = await spec.call(**{spec.parameter: given})
    parts = converters.get("http").encode(result, expected_type=None).value
    cookies: list[SimpleCookie] = parts["cookies"] or []
    return Answer(
        int(parts["status_code"].value),
        {name.lower(): value.value for name, value in parts["headers"].items()},
        [morsel.OutputString() for cookie in cookies for morsel in cookie.values()],
        parts["body"].value,
    )


def asked(spec: FunctionSpec, *arguments: Any, **more: Any) -> Answer:
    """`ask`, waited for."""
    return asyncio.run(ask(spec, *arguments, **more))
