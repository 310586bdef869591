"""No error repeats a value: any of them may be a secret that stands in the wrong place."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared import wiring
from shared.config.load import ConfigError
from shared.config.wording import Place
from tests.config.environment import ENVIRON

SECRET = st.builds(
    lambda head, tail: f"{head}hidden-{tail}",
    st.sampled_from(["", "~", "~(", "https://", "http://user:", "whsec_", "2026-", "/", "'", "${"]),
    st.text("abcdefXYZ0189()[]'\"\\/:@?{}= é", min_size=4, max_size=20).filter(str.strip),
)
pytestmark = pytest.mark.filterwarnings("ignore:Possible .* set:FutureWarning")  # of re, about patterns made here


def _everything() -> dict[str, Any]:
    """A valid configuration with every family in it."""
    text = (Path(__file__).parent / "good" / "everything.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _leaves(data: object, place: Place = ()) -> Iterator[Place]:
    if isinstance(data, dict):
        for name, inner in data.items():
            yield (*place, name)
            yield from _leaves(inner, (*place, name))
    elif isinstance(data, list):
        for i, inner in enumerate(data):
            yield (*place, i)
            yield from _leaves(inner, (*place, i))


PLACES = sorted(set(_leaves(_everything())), key=str)


def _told(data: dict[str, Any], environ: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "argus.yaml"
        path.write_text(yaml.safe_dump(data, allow_unicode=True), "utf-8")
        try:
            wiring.check(path, environ)
        except ConfigError as error:
            return f"{error} {error!r} {error.problems}"
        return ""


def _placed(place: Place, value: object) -> dict[str, Any]:
    data = _everything()
    inner: Any = data
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = value
    return data


def test_the_whole_is_valid() -> None:
    assert _told(_everything(), dict(ENVIRON)) == ""
    assert len(PLACES) > 100


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(PLACES), secret=SECRET, wrapped=st.booleans())
@example(place=("rules", "slow", "kind"), secret="hidden-in-a-kind", wrapped=False)
@example(place=("channels", "ops", "type"), secret="hidden-in-a-type", wrapped=False)
@example(place=("notify", "channels", 0), secret="hidden-in-a-name", wrapped=False)
@example(place=("pollers", "metrics", "metrics", 0, "labels", "status"), secret="~(hidden-in-a-pattern", wrapped=False)
def test_a_value_from_the_environment_is_never_repeated(place: Place, secret: str, wrapped: bool) -> None:
    data = _placed(place, ["${ELSEWHERE}"] if wrapped else "${ELSEWHERE}")
    assert "hidden-" not in _told(data, {**ENVIRON, "ELSEWHERE": secret})


@settings(max_examples=60, deadline=None)
@given(place=st.sampled_from(PLACES), secret=SECRET, wrapped=st.booleans())
def test_a_value_in_the_file_is_never_repeated(place: Place, secret: str, wrapped: bool) -> None:
    told = _told(_placed(place, {"url": secret} if wrapped else secret), dict(ENVIRON))
    assert "hidden-" not in told
