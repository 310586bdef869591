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
    "P1",
]


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Rule numbers in the names of tests."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8")):
            found |= set(re.findall(r"(?<![A-Za-z0-9])([MHSCDP]\d+)(?![0-9A-Za-z])", name.replace("_", " ")))
    return found


@pytest.mark.parametrize("rule", RULES)
def test_is_explained(rule: str) -> None:
    assert f"**{rule}**" in (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", RULES)
def test_is_proved_by_a_test_of_its_number(rule: str, names: set[str]) -> None:
    assert rule in names
