"""Notifier: one notice, one channel, and an honest word about repeats."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.agents.sentinel import notifier
from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.event import NotificationRequested
from shared.model.notice import Notice, NoticeKind
from shared.model.signal import Severity
from shared.ports.store import Store
from tests.agents.cases import NOW, event, incident
from tests.fakes import FakeChannel, ports

NOTICE = Notice(NoticeKind.OPENED, "disk full", "it is full", Severity.SEV2, "thread")


def test_a_notice_goes_to_its_channel_under_the_event_id(store: Store) -> None:
    chat = FakeChannel()
    asked = event(incident(), NotificationRequested("chat", NOTICE))
    outcome = notifier.handle(asked, incident(), NOW, ports(store, channels={"chat": chat}))
    assert chat.sent == [(NOTICE, asked.id, False)]
    assert "disk full" in outcome.what
    assert outcome.reason


def test_H2_a_repeat_says_so_to_the_channel(store: Store) -> None:
    chat = FakeChannel()
    asked = event(incident(), NotificationRequested("chat", NOTICE))
    notifier.handle(asked, incident(), NOW, replace(ports(store, channels={"chat": chat}), repeat=True))
    assert [repeat for _, _, repeat in chat.sent] == [True]


def test_a_channel_nobody_configured_is_named_with_the_known_ones(store: Store) -> None:
    asked = event(incident(), NotificationRequested("pager", NOTICE))
    with pytest.raises(PermanentError, match=r"'pager'.*chat"):
        notifier.handle(asked, incident(), NOW, ports(store))


def test_a_channel_that_is_away_is_tried_again(store: Store) -> None:
    away = FakeChannel(failures=[TransientError("away", Reason.TIMEOUT, sent=None)])
    asked = event(incident(), NotificationRequested("chat", NOTICE))
    with pytest.raises(TransientError):
        notifier.handle(asked, incident(), NOW, ports(store, channels={"chat": away}))


def test_anything_else_is_refused(store: Store) -> None:
    with pytest.raises(PermanentError):
        notifier.handle(event(incident()), incident(), NOW, ports(store))
