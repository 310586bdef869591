"""`python -m benchmarks tables` measures both clients, here against the stand-in of the Table service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from tests.adapters.stores.table_service import table_service


def test_both_clients_make_the_same_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    with table_service() as service:
        monkeypatch.setenv("A_TABLE_SERVICE", service.connection)
        assert main(["tables", "--quick", "--service", "A_TABLE_SERVICE", "--json", str(file)]) == 0
        assert service.key not in capsys.readouterr().out
        agents = service.agents
    (table,) = json.loads(file.read_text())["tables"]
    names = ["insert", "get", "replace with ETag", "transaction of 100 inserts", "query of 100 rows"]
    assert [figure["name"] for figure in table["figures"]] == names
    assert all(figure["median"] > 0 and figure["peer"][0] > 0 for figure in table["figures"])
    thin, sdk = agents["argus"], sum(count for name, count in agents.items() if name.startswith("azsdk"))
    assert service.seen.count("POST /argus/Tables") == 1
    assert thin == sdk > 30, "one of the thin client's found no table, and azure-data-tables made it"


def test_a_service_that_was_not_named_is_a_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("A_TABLE_SERVICE", raising=False)
    assert main(["tables", "--service", "A_TABLE_SERVICE"]) == 2
    assert "A_TABLE_SERVICE is not set" in capsys.readouterr().err
