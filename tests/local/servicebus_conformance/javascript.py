"""Run Microsoft's JavaScript SDK, a second and independent client, against one broker.

In: the folder with the SDK. Out: one ``Outcome`` per check of ``js/client.cjs``.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.local.servicebus_conformance.broker_process import KEY, broker_process
from tests.local.servicebus_conformance.outcomes import Outcome

CLIENT = Path(__file__).parent / "js" / "client.cjs"
_LIST_TIMEOUT_S = 60


def checks(node_modules: Path) -> list[dict[str, object]]:
    """The queues the client needs, one per check and named like it."""
    command = ["node", str(CLIENT), "--queues"]
    told = subprocess.run(
        command, env=_environment(node_modules), capture_output=True, text=True, check=True, timeout=_LIST_TIMEOUT_S
    )
    found: list[dict[str, object]] = json.loads(told.stdout)
    return found


def run(node_modules: Path, queues: list[dict[str, object]]) -> Iterator[Outcome]:
    """Run all checks in turn; what the client says besides is a failure of its own."""
    with broker_process(queues) as broker:
        environment = _environment(node_modules)
        environment["CONNECTION_STRING"] = broker.connection_string
        environment["WRONG_CONNECTION_STRING"] = broker.connection_string.replace(KEY, "another key")
        process = subprocess.Popen(
            ["node", str(CLIENT)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            for line in process.stdout or ():
                found = json.loads(line)
                outcome = "passed" if found["ok"] else "failed"
                yield Outcome(found["name"], outcome, found["seconds"], found["text"])
            _, said = process.communicate()
            if process.returncode != 0 or said:
                yield Outcome("the client itself", "failed", 0.0, f"exit {process.returncode}\n{said}")
        finally:
            process.kill()
            process.communicate()


def _environment(node_modules: Path) -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(node_modules)}
