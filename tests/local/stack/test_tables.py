"""A stack that keeps its rows in Azurite: what it needs, what it refuses, and how Azurite is started and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.stack import azurite, opening
from local.stack.places import ROOT, SECRET_NAMES, Places, StackError
from local.stack.stack import Stack
from shared import wiring
from shared.ports.store import Insert, Table
from shared.records.versioned import bare
from tests.adapters.stores.table_service import table_service

# Stands in for Node: says what it was started with, and how it was asked to end.
NODE = """#!{python}
import os, signal, sys
if sys.argv[1:] == ["--version"]:
    print(os.environ.get("NODE_SAYS", "v22.1.0")); sys.exit()
def stop(*_):
    print("saved", flush=True); sys.exit(0)
signal.signal(signal.SIGINT, stop)
print("accounts", os.environ["AZURITE_ACCOUNTS"].partition(":")[0], *sys.argv[1:], flush=True)
print("argus variables", *(name for name in os.environ if name.startswith("ARGUS_")), flush=True)
while True:
    signal.pause()
"""
NPM = """#!{python}
import os, pathlib, sys
home = pathlib.Path(sys.argv[sys.argv.index("--prefix") + 1])
if os.environ.get("NPM_FAILS"):
    sys.exit("E404 no such package")
script = home / "node_modules" / "azurite" / "dist" / "src" / "table" / "main.js"
script.parent.mkdir(parents=True)
script.write_text("")
(home / "node_modules" / "azurite" / "package.json").write_text('{{"version": "%s"}}' % sys.argv[-1].split("@")[1])
"""


@dataclass(frozen=True)
class Machine:
    """A machine with the programs that were put there, and no others."""

    programs: Path
    home: Path

    def put(self, name: str, text: str) -> None:
        path = self.programs / name
        path.write_text(text.format(python=sys.executable))
        path.chmod(0o755)

    def install(self, said: list[str]) -> Path:
        return azurite.install(said.append, self.home)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path / "bin", tmp_path / "azurite")
    made.programs.mkdir()
    monkeypatch.setenv("PATH", str(made.programs))
    return made


def test_it_says_which_program_is_missing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StackError, match="needs Node, and there is none"):
        machine.install([])
    machine.put("node", NODE)
    with pytest.raises(StackError, match="needs npm"):
        machine.install([])
    monkeypatch.setenv("NODE_SAYS", "v12.22.9")
    with pytest.raises(StackError, match=r"needs Node 18 or newer; .*node is v12\.22\.9"):
        machine.install([])


def test_it_is_installed_once_and_says_so(machine: Machine) -> None:
    machine.put("node", NODE)
    machine.put("npm", NPM)
    said: list[str] = []
    script = machine.install(said)
    assert script.is_file()
    assert len(said) == 1
    assert "installing Azurite" in said[0]
    machine.put("npm", "#!/bin/sh\nexit 1\n")
    assert machine.install(said) == script
    assert len(said) == 1, "it is there already, and npm was not asked"


def test_what_an_interrupted_installation_left_is_replaced(machine: Machine) -> None:
    machine.put("node", NODE)
    machine.put("npm", NPM)
    (machine.home / "node_modules" / "azurite").mkdir(parents=True)
    assert machine.install([]).is_file()


def test_an_installation_that_fails_shows_what_npm_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.put("node", NODE)
    machine.put("npm", NPM)
    monkeypatch.setenv("NPM_FAILS", "1")
    with pytest.raises(StackError, match=r"could not install azurite@.*\nE404 no such package"):
        machine.install([])


@pytest.fixture
def child(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Azurite as the stack starts it, with a parent of its own."""
    machine.put("node", NODE)
    script = tmp_path / "main.js"
    code = "import sys; from pathlib import Path; from local.stack import azurite\n"
    code += "azurite.install = lambda say: Path(sys.argv[1]); sys.exit(azurite.main(sys.argv[2:]))"
    arguments = ["--port", "15999", "--location", str(tmp_path / "rows"), "--parent-pid", str(os.getpid())]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(script), *arguments],
        cwd=ROOT,
        env={**os.environ, azurite.KEY: "hunter2"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def test_azurite_is_asked_to_end_in_the_way_that_keeps_rows(child: subprocess.Popen[str], tmp_path: Path) -> None:
    assert child.stdout is not None
    started = child.stdout.readline()
    assert started.startswith("accounts argus --require")
    for wanted in ("--disableTelemetry", f"--location {tmp_path / 'rows'}", "--tableHost 127.0.0.1 --tablePort 15999"):
        assert wanted in started
    assert "hunter2" not in started
    assert child.stdout.readline().split() == ["argus", "variables"], "it gets no secret but its own"
    child.send_signal(signal.SIGTERM)
    assert child.stdout.readline() == "saved\n"
    assert child.wait(10) == 0


def test_a_folder_keeps_the_kind_of_store_it_was_begun_with(tmp_path: Path) -> None:
    places = Places(tmp_path)
    opening.keep_kind(places, "tables")
    opening.keep_kind(places, "tables")
    with pytest.raises(StackError, match="begun with the store 'tables', and cannot go on with 'sqlite'"):
        opening.keep_kind(places, "sqlite")
    with pytest.raises(StackError, match="no store 'table'; known here: sqlite, tables"):
        opening.keep_kind(places, "table")


def test_a_folder_from_before_there_was_a_choice_has_sqlite(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.store.touch()
    with pytest.raises(StackError, match="begun with the store 'sqlite'"):
        opening.keep_kind(places, "tables")
    opening.keep_kind(places, "sqlite")


def test_the_settings_of_a_stack_open_the_store_it_runs(tmp_path: Path) -> None:
    """The same configuration file serves both kinds, for the hosts and for every command beside them."""
    for kind in opening.KINDS:
        stack = Stack(tmp_path / kind, store=kind)
        stack.ports = dict.fromkeys(("http", "sandbox", "servicebus", "shop", "tables"), 1)
        stack.secrets = dict.fromkeys(SECRET_NAMES, "s" * 32)
        settings = stack.settings()
        assert azurite.KEY not in settings
        with table_service() as service:
            if kind == "tables":
                assert "AccountName=argus" in settings["ARGUS_TABLES_CONNECTION"]
                settings["ARGUS_TABLES_CONNECTION"] = service.connection
            store = wiring.open_store(stack.config, settings)
            store.write(Table.KNOWLEDGE, "p", Insert("k", {"n": 1}))
            assert ("knowledge" in service.rows.tables) == (kind == "tables")
            bare(store).close()  # type: ignore[attr-defined]
            opening.end_leases_of(stack.config, settings)
    assert (tmp_path / "sqlite" / "store.db").exists()


def test_a_store_that_is_not_there_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    stack = Stack(tmp_path, store="tables")
    stack.ports = dict.fromkeys(("http", "sandbox", "servicebus", "shop", "tables"), 1)
    stack.secrets = dict.fromkeys(SECRET_NAMES, "s" * 32)
    with pytest.raises(StackError, match="the store cannot be read: the table store cannot be reached"):
        opening.end_leases_of(stack.config, stack.settings())
    with pytest.raises(StackError, match="exactly one of connection and endpoint"):
        opening.end_leases_of(stack.config, {**stack.settings(), "ARGUS_TABLES_CONNECTION": ""})
