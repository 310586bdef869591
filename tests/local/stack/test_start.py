"""Starting a stack where something is in the way, and stopping it before it is up."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.stack.places import ROOT, Places, StackError, choose_ports, load_secrets, read_up_file
from local.stack.processes import wait_gone
from local.stack.stack import LOCK_WAIT_S, Stack
from tests.local.stack.driver import until

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"


def _process(*arguments: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", SLEEPER, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


@pytest.mark.parametrize(
    "content",
    ["", "garbage", "[]", "7", "{}", '{"pids": []}', '{"pids": {"host": "x", "broker": -1, "load": 0}}'],
)
def test_an_up_file_of_any_content_stands_in_nobodys_way(tmp_path: Path, content: str) -> None:
    stack = Stack(tmp_path)
    stack.places.up_file.write_text(content)
    assert isinstance(read_up_file(stack.places), dict)
    stack._bury_orphans()
    stack.down()


def test_what_a_killed_supervisor_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    supervisor = 4_000_001
    left = _process("local.host", "--parent-pid", str(supervisor), "--port", "0")
    others = [_process("local.host", "--parent-pid", str(supervisor + 1), "x"), _process("something", "else")]
    wait_gone([left.pid, *(other.pid for other in others)], supervisor, 0)
    assert left.wait(10) == -signal.SIGKILL
    assert [other.poll() for other in others] == [None, None]
    for other in others:
        other.kill()
        other.wait(10)


def test_a_second_stack_in_the_folder_is_told_at_once(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.places.up_file.write_text(json.dumps({"pids": {"supervisor": os.getpid()}}))
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(StackError, match=r"is running on .* already"):
            stack.up()
    assert time.monotonic() - began < LOCK_WAIT_S / 2, "one that runs is not waited for, as one that ends is"
    assert json.loads(stack.places.up_file.read_text())["pids"]["supervisor"] == os.getpid(), "it is not ours to end"


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match=r"/file: .*; name another folder with --data"):
        Stack(tmp_path / "file").up()


def test_files_cut_off_by_a_crash(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text('{"http": 70')
    assert choose_ports(Places(tmp_path), usual=False)["http"] > 0
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(StackError, match="remove it, and new secrets are made"):
        load_secrets(Places(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["starting", "broker.log"])
def test_a_stop_during_the_start_is_quick_and_leaves_nothing(tmp_path: Path, number: signal.Signals, when: str) -> None:
    log, data = tmp_path / "up.log", tmp_path / "data"
    command = [sys.executable, "-m", "local", "up", "--data", str(data), "--any-port"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    until(lambda: when in log.read_text() or (data / "logs" / when).exists(), 20, when)
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(20) == 0
    assert time.monotonic() - began < 5
    assert "Traceback" not in log.read_text()
    assert "stopped before it was up" in log.read_text()
    with (data / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
