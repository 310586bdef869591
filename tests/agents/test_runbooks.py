"""Every runbook in the library is valid, complete and reachable; every mistake in one is named."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.knowledge.library import FolderLibrary
from shared.model.errors import PermanentError, Reason
from shared.model.runbook import InputSource, Matches, Runbook, RunbookAction, RunbookInput
from shared.records.runbook import fill, parse, render

FOLDER = Path(__file__).parents[2] / "runbooks"
FILES = sorted(FOLDER.glob("*.md"))
HEADINGS = ("## When to use", "## Check first", "## Steps", "## Verify", "## Roll back")
GOOD = """---
id: mend-it
title: Mend it
matches: {alerts: [Broken], causes: [release], words: [broken]}
specialist: Application
owner: team
inputs: [{name: previous, from: hypothesis.previous}]
actions: [{action: deploy_hook, target: "{service}", parameters: {to: "{previous}"}}]
risk: Small.
rollback: Undo.
---

# Mend it
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_runbook_parses_and_is_complete(path: Path) -> None:
    runbook = parse(path.read_text(encoding="utf-8"), path.name)
    assert runbook.id == path.stem
    assert {action.action for action in runbook.actions} <= {"deploy_hook", "noop"}
    assert [line for line in runbook.body.splitlines() if line in HEADINGS] == list(HEADINGS)
    assert parse(render(runbook), path.name) == runbook


def test_the_library_holds_every_file_once() -> None:
    assert [runbook.id for runbook in FolderLibrary([FOLDER, FOLDER]).runbooks()] == [path.stem for path in FILES]


def test_a_good_one_is_read() -> None:
    runbook = parse(GOOD)
    assert runbook.actions == (RunbookAction("deploy_hook", "{service}", {"to": "{previous}"}),)
    assert runbook.inputs == (RunbookInput("previous", InputSource.PREVIOUS),)
    assert runbook.needs_cause
    assert not runbook.learned


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("---\nid", "id", "no front matter", id="no-front-matter"),
        pytest.param("owner: team\n", "", "field owner is missing", id="missing"),
        pytest.param("owner: team", "owner: ''", "field owner: a text was expected", id="empty"),
        pytest.param("owner: team", "owner: team\nowners: x", "unknown field owners", id="unknown"),
        pytest.param("id: mend-it", "id: Mend It", "field id: lower-case", id="bad-id"),
        pytest.param("causes: [release]", "cause: [x]", "field matches: unknown field cause", id="unknown-in-matches"),
        pytest.param(
            "alerts: [Broken], causes: [release], words: [broken]",
            "services: [x]",
            "at least one",
            id="matches-nothing",
        ),
        pytest.param("[Broken]", "[1]", "field matches.alerts: a list of texts", id="number-in-list"),
        pytest.param("hypothesis.previous}]", "alert.text}]", "field from: 'alert.text' is not one of", id="bad-from"),
        pytest.param('"{previous}"', '"{other}"', "{other} is no input", id="unknown-input"),
        pytest.param('"{previous}"', "4", "field parameters: a mapping of texts", id="number-as-parameter"),
        pytest.param("actions: [", "actions: [[], ", "field actions[0]: a mapping", id="action-is-list"),
        pytest.param("title: Mend it", "title: [", "no valid YAML in line", id="bad-yaml"),
        pytest.param("inputs: [{", "inputs: {a: {", "no valid YAML", id="broken-inputs"),
    ],
)
def test_a_mistake_is_named_with_its_field(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(PermanentError) as caught:
        parse(GOOD.replace(old, new, 1), "mend.md")
    assert message in str(caught.value)
    assert str(caught.value).startswith("mend.md: ")
    assert caught.value.reason is Reason.BAD_INPUT


def test_values_are_not_read_as_templates() -> None:
    assert fill("{a}-{b}", {"a": "{b}", "b": "x"}) == "{b}-x"


plain = st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=30).map(str.strip).filter(bool)


@given(title=plain, alerts=st.lists(plain, min_size=1, max_size=3), risk=plain)
def test_what_is_written_is_read_back(title: str, alerts: list[str], risk: str) -> None:
    runbook = Runbook(
        "learned-a-b-c", title, Matches(alerts=tuple(alerts)), "Application", "me", (), (), risk, "x", "# Body\n"
    )
    assert parse(render(runbook)) == runbook


def test_an_invalid_file_is_left_out_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "good.md").write_text(GOOD)
    (tmp_path / "bad.md").write_text(GOOD.replace("owner: team\n", ""))
    (tmp_path / "review.md").write_text("# Post-incident review\n")
    (tmp_path / "bytes.md").write_bytes(b"---\n\xff")
    library = FolderLibrary([tmp_path, tmp_path / "missing"])
    with caplog.at_level(logging.WARNING):
        assert [runbook.id for runbook in library.runbooks()] == ["mend-it"]
        assert [runbook.id for runbook in library.runbooks()] == ["mend-it"]
    assert len(caplog.records) == 2
    assert "field owner is missing" in caplog.text


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "good.md"
    path.write_text(GOOD)
    library = FolderLibrary([tmp_path])
    assert library.runbooks()[0].title == "Mend it"
    path.write_text(GOOD.replace("title: Mend it", "title: Heal it"))
    os.utime(path, ns=(1, 1))
    assert library.runbooks()[0].title == "Heal it"
    path.unlink()
    assert library.runbooks() == ()
