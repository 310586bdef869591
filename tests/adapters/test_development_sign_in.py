"""The development sign-in works on this machine and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.identity.development import COOKIE, DevelopmentSignIn, is_loopback
from shared.config.schema import Settings
from shared.model.errors import PermanentError
from tests import fakes

NOW = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
HERE = {"host": "127.0.0.1:7071"}


class Clock:
    """A clock a test moves."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


def _settings(secret: str = "only-for-tests-0123456789abcdef0123", **people: list[str]) -> Settings:
    known = people or {"maya": ["oncall"], "zoë/ä": []}
    return fakes.settings(
        portal={"base_url": "http://127.0.0.1", "session_secret": secret, "session_hours": 2},
        people={user: {"name": user.title(), "groups": groups} for user, groups in known.items()},
    )


def _door(settings: Settings | None = None, clock: Clock | None = None) -> DevelopmentSignIn:
    return DevelopmentSignIn(settings or _settings(), "", clock or Clock())


def _cookie(door: DevelopmentSignIn, user: str = "maya") -> str:
    header = door.sign_in(user)
    assert header is not None
    return header.partition(";")[0].removeprefix(f"{COOKIE}=")


@pytest.mark.parametrize("user", ["maya", "zoë/ä"])
def test_a_session_says_who_it_is(user: str) -> None:
    door = _door()
    person = door.who(HERE, {COOKIE: _cookie(door, user)})
    assert person is not None
    assert person.user == user


def test_the_cookie_is_kept_from_scripts_and_other_sites() -> None:
    header = _door().sign_in("maya") or ""
    assert header.endswith("; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax")
    assert _door().sign_in("nobody") is None
    assert "Max-Age=0" in _door().sign_out()


def test_every_sign_in_is_a_session_of_its_own() -> None:
    door = _door()
    first, second = (door.who(HERE, {COOKIE: _cookie(door)}) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.session != second.session


def test_a_session_ends() -> None:
    clock = Clock()
    door = _door(clock=clock)
    cookie = _cookie(door)
    clock.now = NOW + timedelta(hours=2) - timedelta(seconds=1)
    assert door.who(HERE, {COOKIE: cookie}) is not None
    clock.now = NOW + timedelta(hours=2)
    assert door.who(HERE, {COOKIE: cookie}) is None


def test_groups_are_those_of_the_configuration_now() -> None:
    cookie = _cookie(_door())
    person = _door(_settings(maya=["oncall", "admins"])).who(HERE, {COOKIE: cookie})
    assert person is not None
    assert person.groups == {"oncall", "admins"}
    assert _door(_settings(liam=[])).who(HERE, {COOKIE: cookie}) is None


def test_another_secret_does_not_know_the_session() -> None:
    assert _door(_settings("another-secret-0123456789abcdef0123")).who(HERE, {COOKIE: _cookie(_door())}) is None


@given(st.text(max_size=80), st.integers(0, 200))
def test_a_forged_cookie_is_nobody(text: str, at: int) -> None:
    door = _door()
    good = _cookie(door)
    assert door.who(HERE, {COOKIE: text}) is None
    forged = good[:at] + text + good[at:]
    assert (door.who(HERE, {COOKIE: forged}) is None) is (forged != good)
    assert (door.who(HERE, {COOKIE: good[:at]}) is None) is (at < len(good))


def test_it_refuses_to_start_in_azure() -> None:
    with pytest.raises(PermanentError, match="WEBSITE_SITE_NAME"):
        DevelopmentSignIn(_settings(), "argus-edge", Clock())


def test_it_refuses_a_short_secret_without_showing_it() -> None:
    with pytest.raises(PermanentError, match="at least 32 characters") as caught:
        _door(_settings("hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.0.0.1:7071", True), ("localhost:80", True), ("LOCALHOST", True),
        ("[::1]:7071", True),
        ("[::1]", True), ("", False), ("argus.example", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:80", False), ("evil.example#localhost", False), ("127.0.0.1:80@evil.example", False),
        ("localhost:", False), ("10.0.0.7:7071", False), ("[::1].evil.example", False), ("0.0.0.0", False),
    ],
)  # fmt: skip
def test_loopback_only(host: str, here: bool) -> None:
    door = _door()
    assert is_loopback(host) is here
    assert (door.who({"host": host}, {COOKIE: _cookie(door)}) is not None) is here
    assert (door.refusal({"host": host}) == "") is here


def test_not_through_a_proxy() -> None:
    door = _door()
    proxied = {**HERE, "x-forwarded-host": "argus.example"}
    assert door.refusal(proxied)
    assert door.who(proxied, {COOKIE: _cookie(door)}) is None


def test_everybody_is_listed_by_name() -> None:
    assert [person.user for person in _door().people()] == ["maya", "zoë/ä"]
