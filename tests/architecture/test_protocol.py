"""Every rule of the protocol is explained in `docs/protocol.md` and carried by the name or text of a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = [
    *(f"M{n}" for n in range(1, 6)),
    *(f"H{n}" for n in range(1, 13)),
    *(f"S{n}" for n in range(1, 9)),
    *(f"C{n}" for n in range(1, 4)),
    *(f"D{n}" for n in range(1, 5)),
    *(f"B{n}" for n in range(1, 4)),
    "P1",
]


PAGE = ROOT / "docs" / "protocol.md"
STEPS = "## Every step, and what proves it"


@pytest.fixture(scope="module")
def tests() -> frozenset[str]:
    """Names of all tests."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    return frozenset(name for text in texts for name in re.findall(r"def (test_\w+)", text))


@pytest.fixture(scope="module")
def names(tests: frozenset[str]) -> set[str]:
    """Rule numbers in the names of tests."""
    found: set[str] = set()
    for name in tests:
        found |= set(re.findall(r"(?<![A-Za-z0-9])([MHSCDPB]\d+)(?![0-9A-Za-z])", name.replace("_", " ")))
    return found


@pytest.fixture(scope="module")
def steps() -> dict[str, list[str]]:
    """The tests that the page names for the steps of each rule: by a crash, and by order, repeats or two hosts."""
    table = PAGE.read_text(encoding="utf-8").partition(STEPS)[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "`test_" in line]
    return {cells[0]: cells[2:] for cells in rows if len(cells) == 4}


@pytest.mark.parametrize("rule", RULES)
def test_is_explained(rule: str) -> None:
    assert f"**{rule}**" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES)
def test_is_proved_by_a_test_of_its_number(rule: str, names: set[str]) -> None:
    assert rule in names


@pytest.mark.parametrize("rule", RULES)
def test_every_step_is_proved_by_tests_that_exist(
    rule: str, steps: dict[str, list[str]], tests: frozenset[str]
) -> None:
    """Each rule has a test of a crash and one of order, repeats or two hosts."""
    for cell in steps[rule]:
        named = re.findall(r"`(test_\w+)`", cell)
        assert named
        assert not set(named) - tests
