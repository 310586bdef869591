"""Whole bodies and the signals they become."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.model.codec import to_json
from tests.adapters.sources.posting import parsed

CASES = sorted(path.parent for path in (Path(__file__).parents[2] / "golden" / "collector").glob("*/in.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_body_becomes_signals(case: Path, update_golden: bool) -> None:
    given = json.loads((case / "in.json").read_text())
    found = to_json(parsed(given["source"], given["body"], given["services"], given["received_at"]))
    if update_golden:
        (case / "out.json").write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    assert found == json.loads((case / "out.json").read_text())


def test_there_are_cases() -> None:
    assert len(CASES) >= 12
