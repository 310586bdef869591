"""Every rejected setting has a file under `bad/`, whose first lines are the exact errors a person reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import wiring
from shared.config.load import ConfigError
from tests.config.environment import ENVIRON

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.yaml"))


def _expected(path: Path) -> list[str]:
    expected = []
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("# "):
            break
        expected.append(line.removeprefix("# "))
    return expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_bad_setting_is_refused_with_these_words(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(ConfigError) as caught:
        wiring.check(path, ENVIRON)
    told = str(caught.value).splitlines()
    assert told == _expected(path)
    assert len(told) == len(caught.value.problems)
    assert not [secret for secret in ENVIRON.values() if secret in str(caught.value)]


def test_problems_are_in_the_order_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(ConfigError) as caught:
        wiring.check(BAD / "several.yaml", ENVIRON)
    lines = [problem.line for problem in caught.value.problems]
    assert len(lines) > 5
    assert lines == sorted(lines)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: No such file"):
        wiring.check(BAD / "nowhere.yaml", ENVIRON)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    for content in (b"\xff\xfe\x00", b"version: \x07"):
        (tmp_path / "x.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match="this is not YAML: it holds bytes that are no text"):
            wiring.check(tmp_path / "x.yaml", ENVIRON)


def test_the_files_are_many() -> None:
    assert len(FILES) >= 25
    assert all(_expected(path) for path in FILES)
