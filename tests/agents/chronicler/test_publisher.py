"""Publisher: every draft to every destination, and what was learned is found again."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from shared.model.document import DocumentKind
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import NotificationRequested
from shared.model.notice import NoticeKind
from shared.ports.store import Store
from shared.records import knowledge
from shared.records.runbook import parse
from tests.agents.cases import alert
from tests.agents.chronicler.story import chronicle, given, lived, text
from tests.fakes import FakeKnowledge, settings


def test_every_draft_goes_to_every_destination_and_people_are_told(store: Store) -> None:
    wiki, git = FakeKnowledge(), FakeKnowledge()
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": wiki, "git": git}))
    assert [(d.kind, d.destination) for d in of.documents] == [
        ("review", "wiki"),
        ("review", "git"),
        ("runbook", "wiki"),
        ("runbook", "git"),
    ]
    assert sorted(wiki.pages) == sorted(git.pages) == sorted(draft.id for draft in of.drafts)
    told = [emit.data for emit in outcomes[2].events]
    assert len(told) == 1
    assert isinstance(told[0], NotificationRequested)
    assert (told[0].channel, told[0].notice.kind, told[0].notice.thread) == ("chat", NoticeKind.PUBLISHED, of.id)
    assert told[0].notice.links[0].url == of.documents[0].url


def test_a_page_a_person_edited_stops_nothing_else(store: Store) -> None:
    wiki = FakeKnowledge(failures=[PermanentError("edited by bo", Reason.CONFLICT)])
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": wiki, "git": FakeKnowledge()}))
    assert len(of.documents) == 3
    assert "edited by bo (conflict)" in outcomes[2].reason
    assert "published to git, wiki" in outcomes[2].reason


def test_a_destination_that_is_away_is_tried_again(store: Store) -> None:
    away = FakeKnowledge(failures=[TransientError("no answer")])
    with pytest.raises(TransientError):
        chronicle(lived(store), given(store, destinations={"wiki": FakeKnowledge(), "git": away}))


def test_a_destination_nobody_configured_is_named(store: Store) -> None:
    of, outcomes = chronicle(lived(store), given(store, destinations={"wiki": FakeKnowledge()}))
    assert "git: not configured" in outcomes[2].reason
    assert {document.destination for document in of.documents} == {"wiki"}


def test_without_destinations_the_runbook_is_learned_all_the_same(store: Store) -> None:
    there = replace(given(store), settings=settings())
    of, outcomes = chronicle(lived(store), there)
    assert of.documents == ()
    assert outcomes[2].events == ()
    assert knowledge.runbook_of(store, "shop", "learned-shop-release-deploy-hook") is not None


def test_foreign_text_is_quoted_in_the_documents(store: Store) -> None:
    evil = "x` [click](http://evil.example) <script>alert(1)</script> | a\n# Head\n---\nid: other"
    of = lived(store)
    hostile = replace(of, title=evil, alerts=(alert(evil, summary=evil),), resolution=evil)
    hostile, _ = chronicle(hostile, given(store))
    review, runbook = (text(store, hostile, kind) for kind in (DocumentKind.REVIEW, DocumentKind.RUNBOOK))
    for body in (review, parse(runbook).body):
        outside = "".join(re.split(r"`[^`\n]*`", body))
        assert "](" not in outside
        assert "<script>" not in outside
        assert "\n# Head" not in body
    assert parse(runbook).id == "learned-shop-release-deploy-hook"
