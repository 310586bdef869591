"""Rule H12: an audit chain shows what was changed in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.audit import GENESIS, AuditEntry
from shared.records.audit_chain import verify, verify_incident
from tests.portal.world import NOW


def _chain(length: int, before: str = GENESIS, chain: str = "c") -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(1, length + 1):
        previous = entries[-1].hash if entries else before
        at = NOW + timedelta(seconds=number)
        bare = AuditEntry(chain, number, at, "triage", "rca", "", f"what {number}", "why", "0" * 64, previous)
        entries.append(replace(bare, hash=bare.expected_hash()))
    return entries


WHOLE = _chain(4)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        pytest.param([], "", id="an-empty-chain-is-whole"),
        pytest.param(WHOLE, "", id="a-whole-chain"),
        pytest.param([*WHOLE[:1], replace(WHOLE[1], why="x"), *WHOLE[2:]], "entry 2 was changed", id="a-changed-entry"),
        pytest.param([*WHOLE[:1], *WHOLE[2:]], "entry 2 is missing", id="a-removed-entry"),
        pytest.param(WHOLE[1:], "entry 1 is missing", id="a-removed-beginning"),
        pytest.param([WHOLE[0], *_chain(2)[1:], *_chain(4, "f" * 64)[2:]], "entry 3 does not continue", id="a-graft"),
        pytest.param([WHOLE[0], replace(WHOLE[1], chain="d")], "entry 2 belongs to another", id="another-chain"),
        pytest.param([*WHOLE, WHOLE[3]], "entry 5 is missing", id="a-doubled-entry"),
        pytest.param(_chain(2, "f" * 64), "entry 1 does not continue", id="another-beginning"),
    ],
)
def test_h12_the_first_broken_link_is_named(entries: list[AuditEntry], problem: str) -> None:
    found = verify(entries)
    assert found.startswith(problem) if problem else found == ""


def test_h12_a_day_continues_the_day_before() -> None:
    day = _chain(2, "f" * 64, "system-20261120")
    assert verify(day, before="f" * 64) == ""
    assert verify(day) != ""


@pytest.mark.parametrize(
    ("entries", "chain", "count", "head", "problem"),
    [
        pytest.param(WHOLE, "c", 4, WHOLE[3].hash, "", id="the-head-fits"),
        pytest.param(WHOLE, "c", 3, WHOLE[2].hash, "", id="newer-entries-are-no-harm"),
        pytest.param([], "c", 0, GENESIS, "", id="nothing-yet"),
        pytest.param(WHOLE[:3], "c", 4, WHOLE[3].hash, "entries 4 to 4 are missing", id="a-cut-tail-shows"),
        pytest.param(WHOLE, "c", 4, "f" * 64, "entry 4 is not the one", id="a-rewritten-chain-shows"),
        pytest.param([], "c", 0, "f" * 64, "entry 0 is not the one", id="a-vanished-chain-shows"),
        pytest.param(WHOLE, "d", 4, WHOLE[3].hash, "entry 1 belongs to another", id="the-chain-of-another-incident"),
    ],
)
def test_h12_an_incident_remembers_its_head(
    entries: list[AuditEntry], chain: str, count: int, head: str, problem: str
) -> None:
    found = verify_incident(entries, chain, count, head)
    assert found.startswith(problem) if problem else found == ""


@given(
    at=st.integers(0, 3),
    field=st.sampled_from(["agent", "micro_agent", "person", "what", "why", "content_hash", "hash"]),
    text=st.text(max_size=20),
)  # fmt: skip
def test_h12_no_single_change_goes_unseen(at: int, field: str, text: str) -> None:
    entries = list(WHOLE)
    if getattr(entries[at], field) == text:
        return
    entries[at] = replace(entries[at], **{field: text})  # type: ignore[arg-type]
    assert verify(entries) != ""
