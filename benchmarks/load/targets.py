"""The systems a storm is played at: ARGUS as `make up` runs it, and Debian's Alertmanager.

In: where notifications go. Out: a running target with its address and the processes that are counted.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ports import free_port
from local.stack.places import ROOT, StackError
from local.stack.processes import answers
from local.stack.stack import Stack

CONFIG = Path(__file__).with_name("argus.yaml")
COUNTED = ("host", "edge", "core", "exec", "broker")
BINARY = "prometheus-alertmanager"
READY_S = 20.0


class Missing(Exception):
    """Something is not installed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Target:
    """A running system.

    Attributes:
        urls: where alerts go, by format.
        pids: what is counted.
        data: its folder.
    """

    name: str
    urls: Mapping[str, str]
    headers: Mapping[str, str]
    pids: tuple[int, ...]
    data: Path
    stack: Stack | None = field(default=None, compare=False)


class LoadStack(Stack):
    """The development stack without traffic of its own."""

    def _start_load(self, environ: dict[str, str]) -> None:
        """The shop is left in peace."""


@contextmanager
def argus(
    sink_url: str, counting: bool = False, prepare: Callable[[Path], None] = lambda store: None
) -> Iterator[Target]:
    """ARGUS with everything in one host, the store empty; sandbox and shop run beside it and are not counted.

    Args:
        counting: the host counts its store calls, which costs a little; see `benchmarks.load.counting`.
        prepare: fills the store, whose file it is given, before anything starts.

    Raises:
        StackError: it does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="argus-load-"))
    config = folder / "argus.yaml"
    config.write_text(CONFIG.read_text(encoding="utf-8").replace("SINK_URL", sink_url), encoding="utf-8")
    modules = {"host": "benchmarks.load.counting"} if counting else {}
    stack = LoadStack(folder / "data", usual=False, config=config, modules=modules)
    try:
        stack.places.data.mkdir(parents=True, exist_ok=True)
        prepare(stack.places.store)
        stack.up()
        base, key = stack.url("http"), stack.secrets["ARGUS_KEY_DEFAULT"]
        listed = f"{base}/api/signals/alertmanager"
        yield Target(
            "ARGUS",
            {"prometheus": listed, "alertmanager": listed, "azure": f"{base}/api/signals/azure_monitor"},
            {"x-functions-key": key},
            tuple(child.pid for child in stack.children if child.name in COUNTED),
            stack.places.data,
            stack,
        )
    finally:
        stack.down()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alertmanager(sink_url: str, group_wait: str, group_interval: str) -> Iterator[Target]:
    """Alertmanager, one process, grouped by service.

    Raises:
        Missing: the Debian package is not installed.
        StackError: it does not start.
    """
    if shutil.which(BINARY) is None:
        raise Missing(f"{BINARY} is not here: install the Debian package of that name, or leave it out with --no-peer")
    folder = Path(tempfile.mkdtemp(prefix="alertmanager-load-"))
    config = folder / "alertmanager.yml"
    config.write_text(
        f"route: {{receiver: hook, group_by: [service], group_wait: {group_wait}, group_interval: {group_interval},"
        f" repeat_interval: 4h}}\nreceivers:\n- name: hook\n  webhook_configs:\n  - {{url: '{sink_url}',"
        " send_resolved: false}\n",
        encoding="utf-8",
    )
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                BINARY,
                f"--config.file={config}",
                f"--storage.path={folder}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
                "--log.level=warn",
            ],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + READY_S
        while not answers(f"http://127.0.0.1:{port}/-/ready"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"{BINARY} does not start: {(folder / 'log').read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        url = f"http://127.0.0.1:{port}/api/v2/alerts"
        yield Target("Alertmanager", {"prometheus": url}, {}, (process.pid,), folder)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
