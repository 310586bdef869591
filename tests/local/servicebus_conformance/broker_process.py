"""A broker as the project runs it: a process on a free port, with a database of its own, for one test.

In: queue definitions. Out: port and key, until the block ends; then it must have ended cleanly and said nothing.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
KEY_NAME = "argus"
KEY = "the key of a broker for conformance tests"
_STOP_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens and what opens it."""

    port: int
    key: str = KEY

    @property
    def connection_string(self) -> str:
        """What the SDKs take."""
        return (
            f"Endpoint=sb://localhost:{self.port};SharedAccessKeyName={KEY_NAME};"
            f"SharedAccessKey={self.key};UseDevelopmentEmulator=true"
        )


@contextmanager
def broker_process(queues: Sequence[dict[str, object]]) -> Iterator[BrokerAddress]:
    """A broker with these queues.

    Raises:
        AssertionError: it did not start, or it did not end with 0 and without a word.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        (folder / "queues.json").write_text(json.dumps(queues))
        (folder / "key").write_text(KEY)
        command = [sys.executable, "-m", "local.servicebus", "--db", str(folder / "broker.db")]
        command += ["--queues", str(folder / "queues.json"), "--key-file", str(folder / "key")]
        with (folder / "told").open("w+") as told:
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=told, text=True)
            try:
                ready = process.stdout.readline() if process.stdout is not None else ""
                assert ready, f"the broker did not start: {(folder / 'told').read_text()}"
                yield BrokerAddress(int(ready.rsplit(":", 1)[1]))
                process.terminate()
                code = process.wait(_STOP_TIMEOUT_S)
            finally:
                process.kill()
                process.communicate()
            said = (folder / "told").read_text()
            assert (code, said) == (0, ""), f"the broker ended with {code} and said: {said}"
