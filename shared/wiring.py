"""The composition root: the only place where ports meet adapters.

In: a configuration file and the environment. Out: an `App`, or every problem at once; and the generated schema.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import SecretStr
from pydantic.json_schema import GenerateJsonSchema, NoDefault
from pydantic_core import core_schema

from shared.adapters.actions import ACTIONS
from shared.adapters.bus.dead_letters import ServiceBusDeadLetters
from shared.adapters.bus.queue_watch import ServiceBusQueueWatch
from shared.adapters.bus.servicebus import ServiceBusBus
from shared.adapters.channels import CHANNELS
from shared.adapters.evidence import EVIDENCE
from shared.adapters.evidence.investigator import PooledInvestigator
from shared.adapters.evidence.own_samples import OwnSamples
from shared.adapters.identity.development import DevelopmentSignIn
from shared.adapters.knowledge import DESTINATIONS
from shared.adapters.knowledge.library import FolderLibrary
from shared.adapters.registry import Adapter, Surroundings
from shared.adapters.sources import POLLERS, SOURCES
from shared.adapters.stores import STORES
from shared.adapters.stores.anchor_file import AnchorFile
from shared.adapters.telemetry import hop_log, json_log
from shared.adapters.ticketing import TICKETING
from shared.adapters.waits.durable import NoWaits
from shared.agents.chronicler import aggregator, doc_writer, publisher
from shared.agents.remediator import closer, executor, solicitor, ticket_updater
from shared.agents.sentinel import incident_creator, notifier, ticket_writer
from shared.agents.triage import enricher, rca, recommender
from shared.config import references
from shared.config.load import ConfigError, Document, read
from shared.config.schema import Section, Settings, StoreSettings, TelemetrySettings
from shared.config.wording import Place, suggestion
from shared.dispatch import Engine, Worker, process
from shared.dispatch.at_once import AtOnce
from shared.model.pipeline import MicroAgent
from shared.portal import Portal
from shared.ports import Ports
from shared.ports.anchor import Ledger
from shared.ports.dead_letters import DeadLetters, NoDeadLetters
from shared.ports.store import Store
from shared.ports.telemetry import NoTelemetry, Telemetry
from shared.ports.waits import Waits
from shared.records.versioned import Versioned

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = ROOT / "config" / "argus.yaml"

FAMILIES: Mapping[str, Mapping[str, Adapter[Any]]] = {
    "sources": SOURCES,
    "pollers": POLLERS,
    "channels": CHANNELS,
    "ticketing": TICKETING,
    "destinations": DESTINATIONS,
    "evidence": EVIDENCE,
    "actions": ACTIONS,
}

WORKERS: Mapping[MicroAgent, Worker] = {
    MicroAgent.INCIDENT_CREATOR: Worker(
        incident_creator.handle,
        reads=("state", "alerts", "heard", "severity", "acknowledged_by", "assigned_at"),
        create=incident_creator.create,
        always=incident_creator.always,
    ),
    MicroAgent.NOTIFIER: Worker(notifier.handle),
    MicroAgent.TICKET_WRITER: Worker(ticket_writer.handle),
    MicroAgent.RCA: Worker(rca.handle),
    MicroAgent.ENRICHER: Worker(enricher.handle),
    MicroAgent.RECOMMENDER: Worker(recommender.handle),
    MicroAgent.SOLICITOR: Worker(solicitor.handle, reads=("approval",)),
    MicroAgent.EXECUTOR: Worker(executor.handle),
    MicroAgent.TICKET_UPDATER: Worker(ticket_updater.handle),
    MicroAgent.CLOSER: Worker(closer.handle, reads=("state", "alerts")),
    MicroAgent.AGGREGATOR: Worker(aggregator.handle),
    MicroAgent.DOC_WRITER: Worker(doc_writer.handle),
    MicroAgent.PUBLISHER: Worker(publisher.handle),
}


@dataclass(frozen=True, slots=True)
class App:
    """Everything a trigger needs."""

    engine: Engine
    portal: Portal
    anchor: Ledger
    dead_letters: DeadLetters = field(default_factory=NoDeadLetters)

    @property
    def ports(self) -> Ports:
        """The ports of the engine."""
        return self.engine.ports

    def engine_with(self, waits: Waits) -> Engine:
        """The engine with waits that belong to one invocation."""
        return replace(self.engine, ports=replace(self.engine.ports, waits=waits))


@dataclass(frozen=True, slots=True)
class Checked:
    """A valid configuration: settings, and the built adapters of every family by configured name."""

    settings: Settings
    adapters: Mapping[str, Mapping[str, Any]]
    evidence_services: Mapping[str, frozenset[str] | None]
    store: Store


def utc_now() -> datetime:
    """Now, aware; the one clock of the product."""
    return datetime.now(UTC)


@lru_cache(maxsize=1)
def app() -> App:
    """The app of this process, built once from ``ARGUS_CONFIG`` and the environment."""
    hop_log.attach(os.environ.get("ARGUS_HOP_LOG", ""))
    built = build(Path(os.environ.get("ARGUS_CONFIG") or DEFAULT_CONFIG), os.environ)
    if built.ports.settings.telemetry.logs == "json":
        json_log.use()
    process.keep_in_order(built.engine)
    process.leave_the_old_alone()
    environ: Mapping[str, str] = os.environ
    if environ.get("ServiceBusConnection"):
        process.open_links_ahead(built.ports.bus, os.environ.get("ARGUS_ROLES", ""))
    return built


def build(config: Path, environ: Mapping[str, str]) -> App:
    """Make an app.

    Raises:
        ConfigError: the configuration cannot be used; every problem is in it.
    """
    checked = check(config, environ)
    settings, adapters = checked.settings, checked.adapters
    own = OwnSamples(checked.store, settings)
    sources = {
        "own_samples": (own, None),
        **{name: (source, checked.evidence_services[name]) for name, source in adapters["evidence"].items()},
    }
    folders = [_under_root(settings.knowledge.runbooks)]
    if settings.knowledge.learned:
        folders.append(_under_root(settings.knowledge.learned))
    ports = Ports(
        settings=settings,
        store=checked.store,
        bus=ServiceBusBus(SecretStr(environ.get("ServiceBusConnection", ""))),
        waits=NoWaits(),
        investigator=PooledInvestigator(sources, settings.investigation.timeout_s, settings.investigation.parallel),
        library=FolderLibrary(folders),
        sources=adapters["sources"],
        pollers=adapters["pollers"],
        channels=adapters["channels"],
        ticketing=adapters["ticketing"],
        destinations=adapters["destinations"],
        actions=adapters["actions"],
        queue_watch=ServiceBusQueueWatch(SecretStr(environ.get("ServiceBusConnection", ""))),
    )
    telemetry = _telemetry(settings.telemetry, environ.get("ARGUS_ROLES", ""))
    once = AtOnce(settings.host.at_once)
    engine = Engine(ports, WORKERS, utc_now, random.random, lambda: uuid.uuid4().hex, telemetry, at_once=once)
    sign_in = DevelopmentSignIn(settings, environ.get("WEBSITE_SITE_NAME", ""), utc_now)
    heads = Path(environ.get("ARGUS_HEADS") or ROOT / ".argus" / "heads.jsonl")
    dead_letters = ServiceBusDeadLetters(SecretStr(environ.get("ServiceBusConnection", "")))
    return App(engine, Portal(ports, sign_in, sign_in, utc_now), AnchorFile(heads), dead_letters)


def check(config: Path, environ: Mapping[str, str]) -> Checked:
    """Read and validate a configuration, adapter sections included. Nothing is connected to, nothing is written.

    Raises:
        ConfigError: every problem, sorted by line.
    """
    document = read(config, environ)
    if document.problems and not document.data:
        raise ConfigError(document.problems)
    settings = document.validate(Settings, document.data)
    families = {family: _validate_family(document, family) for family in FAMILIES}
    store = _validate_store(document)
    references.check(document)
    if document.problems or settings is None or store is None:
        raise ConfigError(document.problems)
    near = Surroundings(ROOT, settings.portal.base_url.rstrip("/"), settings.services)
    adapters = {
        family: {name: adapter.build(name, section, near) for name, (adapter, section) in found.items()}
        for family, found in families.items()
    }
    services = {name: getattr(section, "service", "") for name, (_, section) in families["evidence"].items()}
    evidence_services = {name: frozenset({service}) if service else None for name, service in services.items()}
    return Checked(_without_secrets(settings), adapters, evidence_services, _built(store))


def open_store(config: Path | None = None, environ: Mapping[str, str] = os.environ) -> Store:
    """Only the store of a configuration, for tools that read it.

    Raises:
        ConfigError: the file cannot be read, or its `store` section is wrong; other sections do not matter.
    """
    document = read(config or DEFAULT_CONFIG, environ)
    if document.problems and not document.data:
        raise ConfigError(document.problems)
    document.validate(StoreSettings, document.data.get("store", {}), ("store",))
    store = _validate_store(document)
    problems = [problem for problem in document.problems if problem.path.split(".")[0] in ("", "store")]
    if problems or store is None:
        raise ConfigError(problems)
    return _built(store)


def _without_secrets(settings: Settings) -> Settings:
    """Settings whose adapter sections are only fingerprints: agents need the names, nobody the secrets in them."""
    key = settings.portal.session_secret.get_secret_value().encode()

    def fingerprint(section: Mapping[str, Any]) -> dict[str, str]:
        text = json.dumps(section, sort_keys=True, default=str).encode()
        return {"fingerprint": hmac.digest(key, text, hashlib.sha256).hex()[:16]}

    sections = {f: {name: fingerprint(s) for name, s in getattr(settings, f).items()} for f in FAMILIES}
    return settings.model_copy(update=sections)


def _validate_store(document: Document) -> tuple[Adapter[Store], Section] | None:
    section = document.data.get("store", {})
    if not isinstance(section, Mapping):
        return None
    kind = section.get("kind", StoreSettings().kind)
    adapter = STORES.get(str(kind))
    if adapter is None:
        if isinstance(kind, str) and ("store", "kind") not in document.unset:
            document.report(("store", "kind"), f"no such store{suggestion(kind, STORES)}")
        return None
    inner, place = _store_settings(document, section, str(kind))
    valid = document.validate(adapter.config, inner, place) if isinstance(inner, Mapping) else None
    return None if valid is None else (adapter, valid)


def _store_settings(document: Document, section: Mapping[str, Any], kind: str) -> tuple[Any, Place]:
    """The settings of the chosen kind of store, and where they stand."""
    kinds = section.get("kinds")
    if not kinds or not isinstance(kinds, Mapping):
        return section.get("settings", {}), ("store", "settings")
    if section.get("settings"):
        document.report(("store", "settings"), "`kinds` says this already; only one of the two can stand here")
    for name in kinds:
        if name not in STORES:
            document.report(("store", "kinds", str(name)), f"no such store{suggestion(str(name), STORES)}")
    return kinds.get(kind, {}), ("store", "kinds", kind)


def _built(store: tuple[Adapter[Store], Section]) -> Store:
    adapter, section = store
    return Versioned(adapter.build("store", section, Surroundings(ROOT)))


def _validate_family(document: Document, family: str) -> dict[str, tuple[Adapter[Any], Section]]:
    """Validate every section of a family with the class its product registered."""
    registry, found = FAMILIES[family], {}
    sections = document.data.get(family)
    for name, section in sections.items() if isinstance(sections, Mapping) else ():
        if not isinstance(section, Mapping):
            continue  # told already, by the validation of the whole
        place: Place = (family, str(name), "type") if "type" in section else (family, str(name))
        product = str(section.get("type", name))
        adapter = registry.get(product)
        if adapter is None:
            if place not in document.unset:
                what = "no such product" if "type" in section else "no product has this name, and no `type` names one"
                document.report(place, f"{what}{suggestion(product, registry)}")
            continue
        rest = {key: value for key, value in section.items() if key != "type"}
        valid = document.validate(adapter.config, rest, (family, str(name)))
        if valid is not None:
            found[str(name)] = (adapter, valid)
    return found


def _telemetry(wanted: TelemetrySettings, roles: str) -> Telemetry:
    if not (wanted.otlp.endpoint or wanted.azure_monitor.connection_string.get_secret_value()):
        return NoTelemetry()
    from shared.adapters.telemetry import opentelemetry  # its SDK takes a fifth of a second that most starts can save

    return opentelemetry.build(wanted, roles)


def _under_root(folder: str) -> Path:
    path = Path(folder)
    return path if path.is_absolute() else ROOT / path


class _Schema(GenerateJsonSchema):
    """Tells the default of lists and maps as well, which pydantic leaves out because a function makes it."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        """The default of a setting; a whole section is told by its own settings."""
        factory = schema.get("default_factory")
        if factory is None or schema.get("default_factory_takes_data"):
            return super().get_default_value(schema)
        made = cast(Callable[[], object], factory)()
        return NoDefault if isinstance(made, Section) else made


def schema() -> dict[str, Any]:
    """The JSON schema of the configuration, with the sections of every registered adapter."""
    document = Settings.model_json_schema(schema_generator=_Schema)
    definitions = document.setdefault("$defs", {})
    for family, registry in FAMILIES.items():
        options = []
        for product, adapter in sorted(registry.items()):
            section = _section_schema(definitions, adapter)
            section["title"] = f"{family}: {product}"
            section.setdefault("properties", {})["type"] = {"const": product, "description": "The product."}
            definitions[f"{family}_{product}"] = section
            options.append({"$ref": f"#/$defs/{family}_{product}"})
        document["properties"][family]["additionalProperties"] = {"anyOf": options}
    kept = definitions["StoreSettings"]["properties"]
    kept["kind"]["enum"] = sorted(STORES)
    for kind, adapter in sorted(STORES.items()):
        definitions[f"store_{kind}"] = {**_section_schema(definitions, adapter), "title": f"store: {kind}"}
    del kept["settings"]["additionalProperties"]
    kept["settings"]["anyOf"] = [{"$ref": f"#/$defs/store_{kind}"} for kind in sorted(STORES)]
    kept["kinds"]["properties"] = {kind: {"$ref": f"#/$defs/store_{kind}"} for kind in sorted(STORES)}
    kept["kinds"]["additionalProperties"] = False
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    document["title"] = "ARGUS configuration"
    return document


def _section_schema(definitions: dict[str, Any], adapter: Adapter[Any]) -> dict[str, Any]:
    section = adapter.config.model_json_schema(schema_generator=_Schema)
    definitions.update(section.pop("$defs", {}))
    return section


def schema_text() -> str:
    """`config/schema.json` as it must be: one definition a line, so that a change shows as a change of one line."""
    whole = schema()
    parts = {name: whole.pop(name) for name in ("properties", "$defs")}
    lines = [f"  {json.dumps(name)}: {_compact(value)}" for name, value in sorted(whole.items())]
    for name, inner in parts.items():
        rows = [f"    {json.dumps(key)}: {_compact(value)}" for key, value in inner.items()]
        lines.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n  }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
