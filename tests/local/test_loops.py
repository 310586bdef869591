"""The event loop of our own processes is uvloop's where there is one, and Python's own elsewhere."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from local.loops import quickest


def test_uvloop_is_taken_where_it_is_installed() -> None:
    with asyncio.Runner(loop_factory=quickest()) as runner:
        module = type(runner.get_loop()).__module__
    assert module.partition(".")[0] == ("uvloop" if importlib.util.find_spec("uvloop") else "asyncio")


def test_without_uvloop_it_is_pythons_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with asyncio.Runner(loop_factory=quickest()) as runner:
        assert type(runner.get_loop()).__module__.partition(".")[0] == "asyncio"
