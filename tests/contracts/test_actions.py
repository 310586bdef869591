"""Every action keeps the promises of `shared/ports/action.py`: one mutation, never guessed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.actions import ACTIONS
from shared.adapters.registry import Surroundings
from shared.model.action import ActionRequest
from shared.model.errors import PermanentError, TransientError
from shared.ports.action import Action, Settled
from tests.adapters.far_side import Asked, FarSide, Said, far_side
from tests.adapters.refusals import HASTY_S, SECRET, assert_quiet, check_broken, check_statuses, failure_of

REQUEST = ActionRequest("event-1", "rollback", "shop", {"to": "2.4.0"}, "INC-1")

SECTIONS: dict[str, Callable[[str], dict[str, Any]]] = {
    "deploy_hook": lambda url: {
        "url": f"{url}/deploy?token={SECRET}",
        "status_url": f"{url}/version",
        "settle_url": f"{url}/deploy/{{key}}",
        "secret": SECRET,
        "allowed_targets": ["shop"],
        "parameters": {"to": r"[0-9]+\.[0-9]+\.[0-9]+"},
    },
    "noop": lambda url: {},
}


def build(name: str, where: str, **changed: Any) -> Action:
    adapter = ACTIONS[name]
    section = adapter.config.model_validate({**SECTIONS[name](where), **changed})
    return adapter.build(name, section, Surroundings(root=Path()))


@pytest.fixture
def side() -> Iterator[FarSide]:
    with far_side() as running:
        yield running


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_an_allowed_request_is_run_and_told_in_words(name: str, side: FarSide) -> None:
    action = build(name, side.url)
    assert action.allowed(REQUEST) == ""
    assert action.run(REQUEST)
    assert action.settle(REQUEST) in Settled
    assert dict(action.facts("shop")) == {}


def test_a_mutation_is_sent_once_with_key_and_signature(side: FarSide) -> None:
    side.answer = lambda asked: Said(202, b'{"version": "2.4.0", "message": "rolled back"}')
    told = build("deploy_hook", side.url, verb="rollback").run(REQUEST)
    assert told == "accepted with 202: message rolled back, version 2.4.0"
    (asked,) = side.asked
    assert asked.method == "POST"
    assert json.loads(asked.body) == {
        "action": "rollback",
        "to": "2.4.0",
        "idempotency_key": "event-1",
        "target": "shop",
        "incident": "INC-1",
    }
    assert asked.headers["webhook-id"] == "event-1"
    signed = f"event-1.{asked.headers['webhook-timestamp']}.".encode() + asked.body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert asked.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_every_status_is_judged_and_nothing_is_retried(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    action = build("deploy_hook", side.url)
    check_statuses(lambda url: action.run(REQUEST), side, caplog, action=True)


def test_a_broken_connection_is_told_from_one_that_never_was(side: FarSide, caplog: pytest.LogCaptureFixture) -> None:
    check_broken(lambda url, **more: build("deploy_hook", url, **more).run(REQUEST), side, caplog)


def test_any_success_is_done_whatever_the_body(side: FarSide) -> None:
    action = build("deploy_hook", side.url)
    for status in (200, 201, 202, 204, 299):
        for body in (b"", b"\xff\xfe garbage", b"[]", b'{"version": {"a": 1}}', b'"' + b"x" * 100_000 + b'"'):
            side.answer = lambda asked, status=status, body=body: Said(status, body)  # type: ignore[misc]
            assert action.run(REQUEST) == f"accepted with {status}"


@pytest.mark.parametrize(
    ("changed", "request_changed", "reason"),
    [
        pytest.param({"url": ""}, {}, "switched off", id="no-url-is-off"),
        pytest.param({}, {"target": "bank"}, "allowed_targets", id="a-target-that-is-not-listed"),
        pytest.param({}, {"parameters": {"to": "2.4.0", "force": "1"}}, "not configured", id="a-strange-parameter"),
        pytest.param({}, {"parameters": {}}, "missing", id="a-missing-parameter"),
        pytest.param({}, {"parameters": {"to": "2.4.0\n"}}, "pattern", id="a-value-with-a-tail"),
        pytest.param({}, {"parameters": {"to": "2.4.0; rm -rf /"}}, "pattern", id="a-value-with-a-command"),
        pytest.param({"parameters": {"to": ".*"}}, {"parameters": {"to": "9" * 201}}, "pattern", id="too-long"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_sent(
    side: FarSide, changed: dict[str, Any], request_changed: dict[str, Any], reason: str
) -> None:
    action = build("deploy_hook", side.url, **changed)
    fields = {"target": REQUEST.target, "parameters": REQUEST.parameters, **request_changed}
    request = ActionRequest(REQUEST.key, REQUEST.action, fields["target"], fields["parameters"], REQUEST.incident_id)
    assert reason in action.allowed(request)
    with pytest.raises(PermanentError, match=reason):
        action.run(request)
    assert side.asked == []


@pytest.mark.parametrize(
    ("said", "settled"),
    [
        pytest.param(Said(200, b'{"applied": true}'), Settled.DONE, id="applied"),
        pytest.param(Said(200, b'{"applied": false}'), Settled.NOT_DONE, id="not-applied"),
        pytest.param(Said(200, b'{"applied": "true"}'), Settled.UNKNOWN, id="a-word-is-no-answer"),
        pytest.param(Said(200, b"<html>"), Settled.UNKNOWN, id="garbage"),
        pytest.param(Said(404, b"{}"), Settled.UNKNOWN, id="an-unknown-key-proves-nothing"),
        pytest.param(Said(302, b"", {"location": "/"}), Settled.UNKNOWN, id="a-redirect"),
    ],
)
def test_settling_reads_and_never_guesses(side: FarSide, said: Said, settled: Settled) -> None:
    side.answer = lambda asked: said
    assert build("deploy_hook", side.url).settle(REQUEST) is settled
    assert [(asked.method, asked.path) for asked in side.asked] == [("GET", "/deploy/event-1")]


def test_settling_that_cannot_be_done_now_keeps_the_attempt_unclear(
    side: FarSide, caplog: pytest.LogCaptureFixture
) -> None:
    for said in (Said(429), Said(500), Said(503), Said(drop=True), Said(hang=True)):
        side.answer = lambda asked, said=said: said  # type: ignore[misc]
        action = build("deploy_hook", side.url, **({"timeout_s": HASTY_S} if said.hang else {}))
        failure = failure_of(lambda url: action.settle(REQUEST), side.url)  # noqa: B023
        assert isinstance(failure, TransientError)
        assert failure.sent is None, "a certain 'not sent' would let it run twice"
        assert_quiet(failure, caplog)


def test_without_a_place_to_ask_it_stays_unknown(side: FarSide) -> None:
    assert build("deploy_hook", side.url, settle_url="").settle(REQUEST) is Settled.UNKNOWN
    assert side.asked == []


def test_facts_are_the_configured_fields_as_text(side: FarSide) -> None:
    def answer(asked: Asked) -> Said:
        return Said(200, json.dumps({"version": "2.4.1", "previous": "2.4.0", "healthy": True, "x": [1]}).encode())

    side.answer = answer
    assert dict(build("deploy_hook", side.url).facts("shop")) == {"version": "2.4.1"}
    several = build("deploy_hook", side.url, facts=["version", "healthy", "x", "nothing"])
    assert dict(several.facts("shop")) == {"version": "2.4.1", "healthy": "true"}
    assert dict(build("deploy_hook", side.url, status_url="").facts("shop")) == {}


def test_facts_that_cannot_be_read_are_a_failure_not_an_empty_answer(side: FarSide) -> None:
    action = build("deploy_hook", side.url)
    side.answer = lambda asked: Said(200, b"<html>")
    with pytest.raises(PermanentError):
        action.facts("shop")
    side.answer = lambda asked: Said(500)
    with pytest.raises(TransientError) as caught:
        action.facts("shop")
    assert caught.value.sent is False
    with pytest.raises(PermanentError, match="allowed_targets"):
        action.facts("../admin")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({"url": "http://example.com/deploy"}, "https", id="plain-http-to-a-stranger"),
        pytest.param({"secret": ""}, "secret is empty", id="nothing-to-sign-with"),
        pytest.param({"secret": "whsec_***"}, "base64", id="a-broken-secret"),
        pytest.param({"settle_url": "http://127.0.0.1/deploys"}, "{key}", id="a-settle-url-without-the-key"),
        pytest.param({"parameters": {"to": "("}}, "pattern", id="a-broken-pattern"),
        pytest.param({"parameters": {"idempotency_key": ".*"}}, "cannot be called", id="a-reserved-name"),
    ],
)
def test_a_section_that_cannot_work_is_refused_at_start(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build("deploy_hook", "http://127.0.0.1:1", **changed)
    assert SECRET not in str(caught.value)


def test_noop_remembers_what_it_would_have_done() -> None:
    action = build("noop", "", keep=1)
    assert "nothing was changed" in action.run(REQUEST)
    assert action.seen == (REQUEST,)  # type: ignore[attr-defined]
    assert action.settle(REQUEST) is Settled.NOT_DONE
