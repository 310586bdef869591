"""`python -m benchmarks`: a table of names, and each name leads somewhere."""

from __future__ import annotations

import importlib

import pytest

from benchmarks.__main__ import COMMANDS, main


def test_every_name_has_a_module_with_a_main() -> None:
    for module, what in COMMANDS.values():
        assert callable(importlib.import_module(module).main)
        assert what


def test_help_lists_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)
    assert main([]) == 2


def test_a_name_nobody_knows_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flood"]) == 2
    assert "no benchmark 'flood'; there are crash" in capsys.readouterr().err
