"""The document and the tests hold each other: every line names a test, and every part has a line."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
LINE = re.compile(r"^\| (?P<away>[^|]+) \|.*\| `(?P<test>test_\w+)` \|$")
REQUIRED = ("Teams", "ServiceNow", "Confluence", "metrics", "store, slow", "store, down", "bus, down", "Durable")


def lines() -> dict[str, str]:
    """What is away, and the test that proves the line."""
    text = (HERE.parents[1] / "docs" / "degradation.md").read_text("utf-8")
    table = text.split("## ")[0]
    found = [LINE.match(line) for line in table.splitlines() if line.startswith("| ") and "| proved by |" not in line]
    assert all(found), "a line without a test"
    return {match["away"]: match["test"] for match in found if match}


def written() -> set[str]:
    """Names of the tests of this folder."""
    trees = [ast.parse(path.read_text("utf-8")) for path in HERE.glob("test_*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_line_names_a_test_that_exists() -> None:
    assert len(lines()) >= 12
    assert set(lines().values()) <= written()
    assert len(set(lines().values())) == len(lines()), "each line has a test of its own"


def test_every_part_that_can_be_away_has_a_line() -> None:
    text = " ".join(lines())
    assert not [part for part in REQUIRED if part not in text]


def test_every_outage_of_an_hour_has_a_line() -> None:
    hours = {name for name in written() if name.endswith("_for_an_hour")}
    assert hours <= set(lines().values())
