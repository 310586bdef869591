"""Every destination keeps the promises of `shared/ports/knowledge.py`."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.knowledge import DESTINATIONS
from shared.adapters.registry import Surroundings
from shared.model.document import DocumentDraft, DocumentKind
from shared.model.errors import PermanentError, Reason, TransientError
from shared.ports.knowledge import Knowledge
from tests.adapters.far_side import Asked, FarSide, Said, far_side
from tests.adapters.refusals import SECRET, check_broken, check_statuses
from tests.adapters.sandboxed import TOKENS, Sandboxed, Spoil, sandboxed

MARKDOWN = "---\nid: payment-timeouts\ntitle: Payment timeouts\n---\n# Payment timeouts\n\nRoll back.\n"
DRAFT = DocumentDraft(
    "runbook:payment-timeouts",
    DocumentKind.RUNBOOK,
    "payment-timeouts",
    "Payment timeouts",
    "shop",
    MARKDOWN,
    "INC-7f3a",
)
CHANGED = replace(DRAFT, markdown=MARKDOWN + "\nThen wait.\n")


@dataclass
class Shelf:
    """A destination and a look at what stands there: every text, and how a person edits the first of them."""

    knowledge: Knowledge
    texts: Callable[[], list[str]]
    edit: Callable[[str], None]


def confluence(stack: ExitStack, folder: Path) -> tuple[Shelf, Sandboxed]:
    side = stack.enter_context(sandboxed(folder))

    def edit(text: str) -> None:
        (page,) = side.store.all("page")
        version = {**page["version"], "number": page["version"]["number"] + 1}
        storage = page["storage"].replace("Roll back.", text)
        side.store.put("page", page["id"], {**page, "storage": storage, "version": version})

    knowledge = confluence_at(f"{side.url}/confluence", token=TOKENS.confluence_token)
    return Shelf(knowledge, lambda: [page["storage"] for page in side.store.all("page")], edit), side


def confluence_at(where: str, **changed: Any) -> Knowledge:
    adapter = DESTINATIONS["confluence"]
    section = {"url": where, "user": "argus@example.com", "token": SECRET, "space": "OPS", **changed}
    return adapter.build("wiki", adapter.config.model_validate(section), Surroundings(root=Path()))


def git_in(folder: Path, **changed: Any) -> Shelf:
    adapter = DESTINATIONS["git"]
    config = adapter.config.model_validate({"path": "learned", **changed})
    repository = folder / "learned"

    def edit(text: str) -> None:
        (file,) = repository.glob("runbooks/*.md")
        file.write_text(file.read_text().replace("Roll back.", text))
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        subprocess.run(["git", "-C", str(repository), *who, "commit", "-qam", "by hand"], check=True)

    def texts() -> list[str]:
        return [file.read_text() for file in sorted(repository.glob("*/*.md"))]

    return Shelf(adapter.build("repo", config, Surroundings(root=folder)), texts, edit)


@pytest.fixture(params=sorted(DESTINATIONS))
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    with ExitStack() as stack:
        yield git_in(tmp_path) if request.param == "git" else confluence(stack, tmp_path)[0]


@pytest.fixture
def wiki(tmp_path: Path) -> Iterator[tuple[Shelf, Sandboxed]]:
    with ExitStack() as stack:
        yield confluence(stack, tmp_path)


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


def test_a_draft_is_published_and_an_unchanged_one_changes_nothing(shelf: Shelf) -> None:
    first = shelf.knowledge.publish(DRAFT)
    assert first.changed
    assert first.url
    before = shelf.texts()
    assert "Roll back." in before[0]
    second = shelf.knowledge.publish(DRAFT)
    assert not second.changed
    assert second.url == first.url
    assert shelf.texts() == before


def test_the_same_document_again_updates_the_same_page(shelf: Shelf) -> None:
    first = shelf.knowledge.publish(DRAFT)
    second = shelf.knowledge.publish(CHANGED)
    assert second.changed
    assert second.url == first.url
    (text,) = shelf.texts()
    assert "Then wait." in text
    assert not shelf.knowledge.publish(CHANGED).changed


def test_what_a_person_edited_is_left_alone(shelf: Shelf) -> None:
    shelf.knowledge.publish(DRAFT)
    shelf.edit("Call Ada.")
    for _ in range(2):
        with pytest.raises(PermanentError) as caught:
            shelf.knowledge.publish(CHANGED)
        assert caught.value.reason is Reason.CONFLICT
    (text,) = shelf.texts()
    assert "Call Ada." in text
    assert "Then wait." not in text


def test_two_documents_have_two_pages(shelf: Shelf) -> None:
    review = replace(DRAFT, id="review:1", kind=DocumentKind.REVIEW, slug="inc-7f3a", title="Review of INC-7f3a")
    assert shelf.knowledge.publish(DRAFT).url != shelf.knowledge.publish(review).url
    assert len(shelf.texts()) == 2


def test_text_that_no_page_could_hold_is_published_all_the_same(shelf: Shelf) -> None:
    nasty = (
        "# x\n\n<script>&nbsp;]]> \x00\x0b\ud800 </p>\n\n```html\n]]><b>\n```\n\n![p](http://e.example/x.png) <br>\n"
    )
    assert shelf.knowledge.publish(replace(DRAFT, markdown=nasty, title="<&> \x01 title")).changed


# --- Confluence ---


def test_a_page_of_another_document_or_of_a_person_keeps_its_title(wiki: tuple[Shelf, Sandboxed]) -> None:
    shelf, side = wiki
    shelf.knowledge.publish(DRAFT)
    twin = replace(DRAFT, id="runbook:other", slug="other", markdown="Other words.\n")
    assert shelf.knowledge.publish(twin).changed
    assert not shelf.knowledge.publish(twin).changed
    assert [page["title"] for page in side.store.all("page")] == ["Payment timeouts", "Payment timeouts (other)"]
    third = replace(DRAFT, id="runbook:third", slug="other")
    with pytest.raises(PermanentError) as caught:
        shelf.knowledge.publish(third)
    assert caught.value.reason is Reason.CONFLICT


def test_a_page_carries_labels_and_says_whose_it_is(wiki: tuple[Shelf, Sandboxed]) -> None:
    shelf, side = wiki
    url = shelf.knowledge.publish(replace(DRAFT, service="Shop: EU/west")).url
    assert {row["label"]["name"] for row in side.store.all("label")} == {"argus", "runbook", "shop-eu-west"}
    (row,) = side.store.all("property")
    assert row["property"]["key"] == "argus.source"
    assert row["property"]["value"]["document"] == DRAFT.id
    (page,) = side.store.all("page")
    assert url == f"{side.url}/confluence/wiki/spaces/OPS/pages/{page['id']}/Payment+timeouts"
    assert "<th>title</th>" in page["storage"]
    assert "INC-7f3a" in page["storage"]


LOST = [
    pytest.param("POST", "/api/v2/pages", Spoil(lost=True), id="created-but-not-heard"),
    pytest.param("POST", "/label", Spoil(status=503), id="no-labels"),
    pytest.param("POST", "/properties", Spoil(lost=True), id="property-written-but-not-heard"),
    pytest.param("POST", "/properties", Spoil(status=500), id="no-property"),
]


@pytest.mark.parametrize(("method", "part", "spoil"), LOST)
def test_a_first_publishing_that_broke_off_is_finished_by_the_next(
    wiki: tuple[Shelf, Sandboxed], method: str, part: str, spoil: Spoil
) -> None:
    shelf, side = wiki
    side.once(method, part, spoil)
    with pytest.raises(TransientError) as caught:
        shelf.knowledge.publish(DRAFT)
    assert caught.value.sent is None
    shelf.knowledge.publish(DRAFT)
    assert len(side.store.all("page")) == 1
    assert len(side.store.all("property")) == 1
    assert shelf.knowledge.publish(CHANGED).changed


@pytest.mark.parametrize(
    ("method", "part", "spoil"),
    [
        pytest.param("PUT", "/api/v2/pages/", Spoil(lost=True), id="updated-but-not-heard"),
        pytest.param("PUT", "/properties/", Spoil(status=500), id="no-property"),
        pytest.param("PUT", "/properties/", Spoil(lost=True), id="property-written-but-not-heard"),
    ],
)
def test_an_update_that_broke_off_is_not_taken_for_a_persons_edit(
    wiki: tuple[Shelf, Sandboxed], method: str, part: str, spoil: Spoil
) -> None:
    shelf, side = wiki
    shelf.knowledge.publish(DRAFT)
    side.once(method, part, spoil)
    with pytest.raises(TransientError):
        shelf.knowledge.publish(CHANGED)
    shelf.knowledge.publish(CHANGED)
    assert "Then wait." in shelf.texts()[0]
    assert shelf.knowledge.publish(DRAFT).changed


def test_somebody_who_saves_in_between_wins(wiki: tuple[Shelf, Sandboxed]) -> None:
    shelf, side = wiki
    shelf.knowledge.publish(DRAFT)

    def rule(method: str, path: str) -> Spoil | None:
        if method == "PUT" and "/api/v2/pages/" in path:
            side.rules.remove(rule)
            shelf.edit("Call Ada.")
        return None

    side.rules.append(rule)
    with pytest.raises(PermanentError) as caught:
        shelf.knowledge.publish(CHANGED)
    assert caught.value.reason is Reason.CONFLICT
    assert "Call Ada." in shelf.texts()[0]


def test_a_failed_question_never_makes_a_second_page(wiki: tuple[Shelf, Sandboxed]) -> None:
    shelf, side = wiki
    shelf.knowledge.publish(DRAFT)
    for part in ("/api/v2/spaces", "/api/v2/pages"):
        side.once("GET", part, Spoil(status=200))  # an empty body
        with pytest.raises(TransientError) as caught:
            shelf.knowledge.publish(CHANGED)
        assert caught.value.sent is False
    assert len(side.store.all("page")) == 1


def test_a_space_that_is_not_there_is_permanent(wiki: tuple[Shelf, Sandboxed]) -> None:
    _, side = wiki
    with pytest.raises(PermanentError) as caught:
        confluence_at(f"{side.url}/confluence/wiki", token=TOKENS.confluence_token, space="NOPE").publish(DRAFT)
    assert caught.value.reason is Reason.NOT_FOUND


def test_every_status_of_a_read_is_judged(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    knowledge = confluence_at(side.url)
    check_statuses(lambda url: knowledge.publish(DRAFT), side, caplog, reading=True, asked_again=409)


def test_every_status_of_a_write_is_judged(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    knowledge = confluence_at(side.url, user="")

    def before(asked: Asked) -> Said | None:
        spaces = [{"key": "OPS", "id": "1"}] if asked.path.endswith("/spaces") else []
        return Said(200, json.dumps({"results": spaces}).encode()) if asked.method == "GET" else None

    check_statuses(lambda url: knowledge.publish(DRAFT), side, caplog, before=before, asked_again=409)


def test_broken_connections(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    def publish(url: str, **changed: Any) -> None:
        whole = {name: math.ceil(value) for name, value in changed.items()}  # this one takes whole seconds
        confluence_at(url, user="", **whole).publish(DRAFT)

    check_broken(publish, side, caplog, reading=True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"results": 5}', b'{"results": [5]}', b"\xff"])
def test_an_unreadable_success_is_no_success(side: FarSide, body: bytes) -> None:
    side.answer = lambda asked: Said(200, body)
    with pytest.raises((TransientError, PermanentError)):
        confluence_at(side.url).publish(DRAFT)
    assert {asked.method for asked in side.asked} == {"GET"}


# --- Git ---


def log(folder: Path) -> list[str]:
    command = ["git", "-C", str(folder / "learned"), "log", "--format=%an <%ae> %s"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def test_one_commit_per_change(tmp_path: Path) -> None:
    shelf = git_in(tmp_path)
    for draft in (DRAFT, DRAFT, CHANGED):
        shelf.knowledge.publish(draft)
    assert log(tmp_path) == ["ARGUS <argus@localhost> payment-timeouts: Payment timeouts"] * 2
    assert shelf.texts() == [CHANGED.markdown]
    status = ["git", "-C", str(tmp_path / "learned"), "status", "--porcelain"]
    assert subprocess.run(status, check=True, capture_output=True).stdout == b""


def test_the_address_is_the_file_or_follows_the_template(tmp_path: Path) -> None:
    assert git_in(tmp_path).knowledge.publish(DRAFT).url == (tmp_path / "learned/runbooks/payment-timeouts.md").as_uri()
    shelf = git_in(tmp_path, url_template="https://git.example/blob/main/{path}")
    assert shelf.knowledge.publish(DRAFT).url == "https://git.example/blob/main/runbooks/payment-timeouts.md"


@pytest.mark.parametrize("slug", ["../x", "a/b", "", ".git", "-x", "a\n", "Ä", "x" * 121])
def test_a_slug_that_is_no_file_name_is_refused(tmp_path: Path, slug: str) -> None:
    with pytest.raises(PermanentError) as caught:
        git_in(tmp_path).knowledge.publish(replace(DRAFT, slug=slug))
    assert caught.value.reason is Reason.BAD_INPUT
    assert not (tmp_path / "learned").exists()


def test_a_lock_of_somebody_else_is_waited_for_and_a_stale_one_is_not(tmp_path: Path) -> None:
    import os

    shelf = git_in(tmp_path)
    shelf.knowledge.publish(DRAFT)
    lock = tmp_path / "learned/.git/index.lock"
    lock.touch()
    with pytest.raises(TransientError) as caught:
        shelf.knowledge.publish(CHANGED)
    assert caught.value.sent is False
    os.utime(lock, (0, 0))
    assert shelf.knowledge.publish(CHANGED).changed


def test_uncommitted_work_of_a_person_is_left_alone_but_our_own_is_finished(tmp_path: Path) -> None:
    shelf = git_in(tmp_path)
    shelf.knowledge.publish(DRAFT)
    file = tmp_path / "learned/runbooks/payment-timeouts.md"
    file.write_text(CHANGED.markdown)  # killed between writing and committing
    assert shelf.knowledge.publish(CHANGED).changed
    file.write_text("a person is typing here")
    with pytest.raises(PermanentError) as caught:
        shelf.knowledge.publish(DRAFT)
    assert caught.value.reason is Reason.CONFLICT
    assert file.read_text() == "a person is typing here"


def test_a_file_of_another_document_is_left_alone(tmp_path: Path) -> None:
    shelf = git_in(tmp_path)
    shelf.knowledge.publish(DRAFT)
    with pytest.raises(PermanentError) as caught:
        shelf.knowledge.publish(replace(CHANGED, id="runbook:other"))
    assert caught.value.reason is Reason.CONFLICT


def test_a_repository_further_up_and_its_hooks_are_not_touched(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    hook = tmp_path / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert git_in(tmp_path).knowledge.publish(DRAFT).changed
    assert (tmp_path / "learned/.git").is_dir()


def test_two_publishers_do_not_disturb_each_other(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    drafts = [replace(DRAFT, id=f"runbook:{n}", slug=f"book-{n}", markdown=f"Book {n}.\n") for n in range(6)]
    shelves = [git_in(tmp_path), git_in(tmp_path)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda n: shelves[n % 2].knowledge.publish(drafts[n]), range(6)))
    assert all(published.changed for published in done)
    assert len(log(tmp_path)) == 6


def test_without_git_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(PermanentError, match="git is not installed"):
        git_in(tmp_path).knowledge.publish(DRAFT)


def test_a_folder_that_cannot_be_written_is_transient(tmp_path: Path) -> None:
    (tmp_path / "learned").write_text("a file")
    with pytest.raises(TransientError):
        git_in(tmp_path).knowledge.publish(DRAFT)
