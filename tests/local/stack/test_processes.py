"""Single processes of a stack: started, found dead, started again, ended; and `python -m local break` against one."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import __main__ as commands
from local.demo import play
from local.demo.operator import get_json
from local.stack import processes
from local.stack.places import ROOT, StackError, choose_ports, load_secrets
from local.stack.processes import Child, start
from local.stack.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of which only the shop runs."""
    stack = Stack(tmp_path, usual=False)
    stack.ports = choose_ports(stack.places, usual=False)
    stack.secrets = load_secrets(stack.places)
    arguments = ["--port", str(stack.ports["shop"]), "--data", str(tmp_path / "shop")]
    ready = f"{stack.url('shop')}/healthz"
    stack.children.append(start("shop", "local.demo.shop", arguments, stack.environ(), ROOT, stack.places.logs, ready))
    stack.children[0].wait_ready()
    stack._write_up_file()
    yield stack
    stack.down()


def _sleeper(tmp_path: Path, script: str) -> Child:
    (tmp_path / "sleeper.py").write_text(
        f"import signal, sys, time\n{script}\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    child = start("sleeper", "sleeper", [], dict(os.environ), tmp_path, tmp_path / "logs", "http://127.0.0.1:9/")
    while "up" not in child.tail():
        assert child.process.poll() is None, child.tail()
    return child


def test_a_process_that_died_is_started_again_where_it_was(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["break", "--data", str(stack.data)]) == 0
    assert stack.ended() is None
    os.kill(stack.children[0].pid, signal.SIGKILL)
    dead = stack.children[0]
    dead.process.wait()
    assert stack.ended() is dead
    play._tick(stack, play.Screen(stack.places.hops, colour=False))
    assert "shop ended (code -9); it is started again" in capsys.readouterr().out
    assert stack.children[0].pid != dead.pid
    assert json.loads(stack.places.up_file.read_text())["pids"]["shop"] == stack.children[0].pid
    assert get_json(f"{stack.url('shop')}/version")["version"] == "2.4.1"


def test_break_says_what_it_did_or_why_not(stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(stack.data)]
    assert commands.main(["break", *data]) == 0
    assert "release 2.4.1 is deployed to http://127.0.0.1:" in capsys.readouterr().out
    assert commands.main(["break", *data, "--version", "9.9.9"]) == 1
    assert re.search(r"the shop refused: .*unknown version", capsys.readouterr().err)
    stack.children[0].stop()
    assert commands.main(["break", *data]) == 1
    assert "does not answer; is `make up` running?" in capsys.readouterr().err
    assert commands.main(["break", "--data", str(tmp_path / "nothing")]) == 1
    assert "start the stack with `make up` first" in capsys.readouterr().err


def test_a_process_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    child = start("broker", "no_such_module", [], dict(os.environ), tmp_path, tmp_path / "logs", "http://127.0.0.1:9/")
    with pytest.raises(StackError, match=r"(?s)broker ended at once \(code 1\):.*No module named no_such_module"):
        child.wait_ready()


def test_a_process_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "READY_TIMEOUT_S", 0.2)
    child = _sleeper(tmp_path, "")
    with pytest.raises(StackError, match=r"(?s)sleeper did not answer within 0 s:\n    up"):
        child.wait_ready()
    child.stop()
    assert child.process.returncode == -signal.SIGTERM


def test_a_process_that_will_not_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_TIMEOUT_S", 0.2)
    child = _sleeper(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    child.stop()
    assert child.process.returncode == -signal.SIGKILL


def test_a_screen_shows_whole_lines_only_and_counts_hops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hops = tmp_path / "hops.jsonl"
    screen = play.Screen(hops, colour=True)
    screen.show()
    line = json.dumps(
        {"time": "2026-11-20T03:00:00+00:00", "micro_agent": "rca", "what": "found the cause", "reason": "a release"}
    )
    hops.write_text(f"{line}\n{line[:20]}")
    screen.show()
    hops.write_text(f"{line}\n{line}\n")
    screen.show()
    assert capsys.readouterr().out.count("found the cause") == 2
    assert screen.hops == {"rca": 2}


def test_what_does_not_happen_in_time_is_said(stack: Stack) -> None:
    screen = play.Screen(stack.places.hops, colour=False)

    def away() -> str:
        raise ConnectionRefusedError

    with pytest.raises(StackError, match=r"waited 0 s for an incident; the logs are in "):
        play._until(stack, screen, "an incident", 0.3, away)
