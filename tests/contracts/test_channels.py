"""Every channel keeps the promises of `shared/ports/channel.py` towards a far side that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from shared.adapters.channels import CHANNELS
from shared.adapters.registry import Surroundings
from shared.model.errors import PermanentError
from shared.model.notice import Fact, Link, Notice, NoticeKind
from shared.model.signal import Severity
from shared.ports.channel import Channel
from tests.adapters.far_side import FarSide, Said, far_side
from tests.adapters.refusals import SECRET, check_broken, check_statuses

NOTICE = Notice(
    NoticeKind.OPENED,
    "Checkout fails",
    "5xx above 5 %",
    Severity.SEV1,
    "INC-1",
    (Fact("Service", "shop"),),
    (Link("Open the incident", "http://127.0.0.1:7071/incidents/INC-1"),),
)

SECTIONS: dict[str, Callable[[str], dict[str, object]]] = {
    "teams": lambda url: {"url": f"{url}/hook?sig={SECRET}", "allowed_hosts": ["127.0.0.1"]},
    "webhook": lambda url: {"url": f"{url}/hook?token={SECRET}", "secret": SECRET},
}


def build(name: str, url: str, tmp: Surroundings, **changed: object) -> Channel:
    adapter = CHANNELS[name]
    return adapter.build(name, adapter.config.model_validate({**SECTIONS[name](url), **changed}), tmp)


@pytest.fixture(params=sorted(CHANNELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


@pytest.fixture
def around(tmp_path: object) -> Surroundings:
    return Surroundings(root=tmp_path)  # type: ignore[arg-type]


def test_a_success_is_delivered_once_and_said_in_words(name: str, side: FarSide, around: Surroundings) -> None:
    channel = build(name, side.url, around)
    for status in (200, 202, 204):
        side.answer = lambda asked, status=status: Said(status, b"not json")  # type: ignore[misc]
        side.asked.clear()
        receipt = channel.send(NOTICE, "key-1", False)
        assert receipt
        assert SECRET not in receipt
        assert [asked.method for asked in side.asked] == ["POST"]


def test_a_possible_repeat_is_said_or_can_be_told_by_the_key(name: str, side: FarSide, around: Surroundings) -> None:
    channel = build(name, side.url, around)
    channel.send(NOTICE, "key-1", True)
    asked = side.asked[0]
    assert "possible repeat" in asked.body.decode() or asked.headers.get("webhook-id") == "key-1"


def test_every_status_is_judged_and_nothing_is_retried(
    name: str, side: FarSide, around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    channel = build(name, side.url, around)
    # pymsteams follows redirects before anybody can look; where they lead is the next test.
    check_statuses(lambda url: channel.send(NOTICE, "key-1", False), side, caplog, location=name != "teams")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_delivery(name: str, side: FarSide, around: Surroundings, status: int) -> None:
    elsewhere = {"location": "/elsewhere"}
    side.answer = lambda asked: Said(202) if asked.path == "/elsewhere" else Said(status, b"", elsewhere)
    with pytest.raises(PermanentError, match="redirect") as caught:
        build(name, side.url, around).send(NOTICE, "key-1", False)
    assert SECRET not in str(caught.value)


def test_a_broken_connection_is_told_from_one_that_never_was(
    name: str, side: FarSide, around: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    check_broken(lambda url, **more: build(name, url, around, **more).send(NOTICE, "key-1", False), side, caplog)


def test_a_rejected_section_does_not_repeat_its_secret(name: str) -> None:
    section = SECTIONS[name]("ftp://127.0.0.1")
    with pytest.raises(ValueError, match="https") as caught:
        CHANNELS[name].config.model_validate(section)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(CHANNELS[name].config.model_validate(SECTIONS[name]("http://127.0.0.1:1")))


def test_webhook_bodies_are_json_with_the_whole_notice(side: FarSide, around: Surroundings) -> None:
    build("webhook", side.url, around).send(NOTICE, "key-1", False)
    body = json.loads(side.asked[0].body)
    assert body["notice"]["title"] == "Checkout fails"
    assert body["key"] == "key-1"
    assert body["possible_repeat"] is False
