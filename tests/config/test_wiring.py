"""The composition root: what a valid configuration becomes, and what it is not built from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from local import pages
from shared import wiring
from shared.config.load import ConfigError, read
from shared.model.errors import PermanentError
from shared.ports.store import Table, Upsert
from tests import fakes
from tests.config.environment import ENVIRON

HERE = Path(__file__).parent
EVERYTHING = HERE / "good" / "everything.yaml"


def test_an_app_has_everything_that_is_configured() -> None:
    app = wiring.build(EVERYTHING, ENVIRON)
    ports = app.ports
    assert set(ports.sources) == {"azure_monitor", "prometheus"}
    assert set(ports.pollers) == {"health", "metrics"}
    assert set(ports.channels) == {"ops", "hook"}
    assert set(ports.destinations) == {"confluence", "git"}
    assert set(ports.actions) == {"deploy_hook", "noop"}
    assert set(ports.ticketing) == {"servicenow"}
    waits = fakes.FakeWaits()
    assert app.engine_with(waits).ports.waits is waits
    assert app.ports.waits is not waits
    assert not [secret for secret in ENVIRON.values() if secret in repr(ports.settings)]


def test_checking_touches_nothing(tmp_path: Path) -> None:
    data = yaml.safe_load(EVERYTHING.read_text("utf-8"))
    data["store"]["settings"]["path"] = str(tmp_path / "kept" / "store.db")
    data["destinations"]["git"]["path"] = str(tmp_path / "knowledge")
    (tmp_path / "argus.yaml").write_text(yaml.safe_dump(data), "utf-8")
    wiring.check(tmp_path / "argus.yaml", ENVIRON)
    assert [path.name for path in tmp_path.iterdir()] == ["argus.yaml"]


def test_it_refuses_to_start_in_azure() -> None:
    with pytest.raises(PermanentError, match="WEBSITE_SITE_NAME"):
        wiring.build(EVERYTHING, {**ENVIRON, "WEBSITE_SITE_NAME": "func-argus"})


class TestOpenStore:
    def _file(self, tmp_path: Path, store: object) -> Path:
        path = tmp_path / "argus.yaml"
        path.write_text(yaml.safe_dump({"version": "wrong", "portal": "${NOT_SET}", "store": store}), "utf-8")
        return path

    def test_other_sections_do_not_matter(self, tmp_path: Path) -> None:
        path = self._file(tmp_path, {"kind": "sqlite", "settings": {"path": str(tmp_path / "store.db")}})
        store = wiring.open_store(path, {})
        store.write(Table.KNOWLEDGE, "shop", Upsert("x", {"n": 1}))
        found = store.get(Table.KNOWLEDGE, "shop", "x")
        assert found is not None
        assert found.values["n"] == 1

    @pytest.mark.parametrize(
        ("store", "told"),
        [
            ({"kind": "postgres"}, "store.kind: no such store; known here: sqlite, tables"),
            ({"kind": "tables"}, "store.settings: exactly one of connection and endpoint is needed"),
            ({"settings": {"busy_s": 0}}, "store.settings.busy_s: must be more than 0"),
            ({"settings": {"path": "${NOWHERE}"}}, "store.settings.path: the environment variable NOWHERE is not set"),
            ({"kinde": "sqlite"}, 'store.kinde: unknown setting; did you mean "kind"?'),
            ({"kinds": "sqlite"}, "store.kinds: settings were expected"),
            ("sqlite", "store: settings were expected"),
            ({"settings": 7}, "store.settings: settings were expected"),
        ],
    )
    def test_its_own_section_does(self, tmp_path: Path, store: object, told: str) -> None:
        with pytest.raises(ConfigError) as caught:
            wiring.open_store(self._file(tmp_path, store), {})
        (problem,) = caught.value.problems
        assert told in str(problem)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read"):
            wiring.open_store(tmp_path / "nowhere.yaml", {})


class TestRead:
    @pytest.mark.parametrize(
        ("text", "environ", "value"),
        [
            ("${NAME}", {"NAME": "x"}, "x"),
            ("${NAME:-y}", {}, "y"),
            ("${NAME:-y}", {"NAME": ""}, "y"),
            ("${NAME:-}", {}, ""),
            ("a ${NAME} and ${OTHER:-z}", {"NAME": "x"}, "a x and z"),
            ("$${NAME}", {"NAME": "x"}, "${NAME}"),
            ("${NAME}", {"NAME": "${OTHER}"}, "${OTHER}"),
            ("${NAME}", {"NAME": "5"}, "5"),
            ("2026-11-20T22:00:00+01:00", {}, "2026-11-20T22:00:00+01:00"),
            ("12", {}, 12),
            ("'12'", {}, "12"),
            ("yes", {}, True),
            ("", {}, None),
        ],
    )
    def test_values(self, tmp_path: Path, text: str, environ: dict[str, str], value: object) -> None:
        path = tmp_path / "x.yaml"
        path.write_text(f"a: {text}\n", "utf-8")
        document = read(path, environ)
        assert (document.data, document.problems) == ({"a": value}, [])

    def test_an_alias_is_the_same_value_at_two_places(self, tmp_path: Path) -> None:
        path = tmp_path / "x.yaml"
        path.write_text("a: &one {x: [1]}\nb: *one\n? [1]\n: 2\n", "utf-8")
        document = read(path, {})
        assert document.data == {"a": {"x": [1]}, "b": {"x": [1]}}
        assert [problem.text for problem in document.problems] == ["a name was expected before the colon"]


def test_pages_are_written_only_when_they_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {tmp_path / "a.md": "a", tmp_path / "b.md": "b"}
    monkeypatch.setattr(pages, "pages", lambda: texts)  # the real ones are files of the project
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    (tmp_path / "a.md").write_text("a")
    assert (pages.write(), pages.write()) == (1, 0)
    assert (tmp_path / "b.md").read_text() == "b"
