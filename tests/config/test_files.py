"""The files under `config/`: they are valid, they fit the schema, and what is generated is fresh."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from local import pages
from shared import wiring
from shared.config.load import read

ROOT = Path(__file__).parents[2]
CONFIGS = [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "tests" / "config" / "good" / "everything.yaml"]
FAMILIES = sorted((family, product) for family, registry in wiring.FAMILIES.items() for product in registry)


def _environ(path: Path) -> dict[str, str]:
    """A value for every variable the file must have; addresses for those that are called so."""
    names = re.findall(r"\$\{([A-Z_a-z0-9]+)\}", path.read_text("utf-8"))
    secret = "only-for-tests-0123456789abcdef0123"
    places = {name: "https://tests.logic.azure.com/only-for-tests" for name in names if name.endswith("_URL")}
    return {**dict.fromkeys(names, secret), **places}


def _local(path: Path) -> dict[str, str]:
    """The demo's own addresses are on loopback."""
    if path.name != "argus.yaml":
        return {}
    return {name: "http://127.0.0.1:7080/x" for name in _environ(path) if name.endswith("_URL")}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_is_valid_and_fits_the_schema(path: Path) -> None:
    environ = {**_environ(path), **_local(path)}
    checked = wiring.check(path, environ)
    assert checked.settings.version == 1
    schema = json.loads((ROOT / "config" / "schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(read(path, environ).data, schema)


def test_the_schema_refuses_what_the_loader_refuses() -> None:
    schema = json.loads((ROOT / "config" / "schema.json").read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    for name in ("unknown-section", "unknown-setting-in-an-adapter", "bad-rule-kind", "not-a-number", "wrong-version"):
        text = (ROOT / "tests" / "config" / "bad" / f"{name}.yaml").read_text("utf-8")
        assert not validator.is_valid(yaml.safe_load(text)), name


def test_no_section_keeps_a_secret_for_the_micro_agents() -> None:
    path = ROOT / "tests" / "config" / "good" / "everything.yaml"
    settings = wiring.check(path, _environ(path)).settings
    for family in wiring.FAMILIES:
        for section in getattr(settings, family).values():
            assert set(section) == {"fingerprint"}
    assert "only-for-tests" not in repr(settings)


def test_generated_pages_are_fresh() -> None:
    stale = [path.name for path, text in pages.pages().items() if not path.exists() or path.read_text("utf-8") != text]
    assert not stale, "run `make pages` and commit what it writes"


def _settings(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every setting with its description; a section's own stands for that of the setting that holds it."""
    for name, definition in {"top level": schema, **schema["$defs"]}.items():
        for setting, field in definition.get("properties", {}).items():
            held = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            yield f"{name}.{setting}", field.get("description") or held.get("description", "")


def test_every_setting_is_described() -> None:
    undescribed = [name for name, description in _settings(wiring.schema()) if len(description) < 8]
    assert not undescribed


def test_every_duration_says_its_unit() -> None:
    durations = [(name, description) for name, description in _settings(wiring.schema()) if name.endswith("_s")]
    assert len(durations) > 20
    assert not [name for name, description in durations if "second" not in description]


@pytest.mark.parametrize(("family", "product"), FAMILIES)
def test_an_adapter_refuses_unknown_settings(family: str, product: str) -> None:
    config = wiring.FAMILIES[family][product].config
    assert config.model_config.get("extra") == "forbid"
    assert config.model_config.get("frozen")
    assert (config.__doc__ or "").strip()
    assert all(field.description for field in config.model_fields.values())
