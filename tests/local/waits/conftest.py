"""Stages for tests: a quiet one to share, and one of its own for whoever kills, sets clocks or deletes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.local.waits.stage import Stage, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One host; its waits read the store every ten minutes, so whatever is quicker has another reason."""
    with staged(tmp_path_factory.mktemp("stage")) as shared:
        shared.start()
        yield shared


@pytest.fixture(scope="module")
def rough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage whose host is killed now and then; its waits read the store every second."""
    with staged(tmp_path_factory.mktemp("rough"), poll_s=1) as shared:
        yield shared


@pytest.fixture
def own(rough: Stage) -> Iterator[Stage]:
    """The rough stage with one host and the right time; every approval of a test ends with it."""
    if not rough.hosts:
        rough.start()
    yield rough
    rough.set_clock(timedelta())
    while len(rough.hosts) > 1:
        rough.kill()
