"""Starts a local server as its own process and waits for its ready line."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

SECRETS = {
    "ARGUS_SANDBOX_TEAMS_SIG": "sig-for-tests",
    "ARGUS_SANDBOX_SERVICENOW_TOKEN": "snow-for-tests",
    "ARGUS_SANDBOX_CONFLUENCE_TOKEN": "wiki-for-tests",
    "ARGUS_SANDBOX_WEBHOOK_SECRET": "hook-for-tests",
    "ARGUS_SHOP_DEPLOY_SECRET": "deploy-for-tests",
}
START_S = 30.0


@contextmanager
def running(
    module: str, *arguments: str, env: Mapping[str, str] = SECRETS
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run ``python -m MODULE`` until the block ends; yields the process and its address."""
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    try:
        yield process, _ready(process)
    finally:
        process.kill()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


def _ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        assert selector.select(START_S), "no ready line"
    line = process.stdout.readline()
    match = re.fullmatch(r"\w+ ready on (http://127\.0\.0\.1:\d+)\n", line)
    assert match, f"unexpected first line: {line!r}"
    return match[1]


def ended(process: subprocess.Popen[str], within_s: float = 30.0) -> int:
    """The exit code, waited for."""
    return process.wait(within_s)
