"""Run Microsoft's own tests, unmodified, each against a broker of its own.

In: the folder of the tests as published. Out: ``Outcome`` after ``Outcome``; pytest's own output goes to a log file.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.local.servicebus_conformance.broker_process import ROOT
from tests.local.servicebus_conformance.outcomes import Outcome
from tests.local.servicebus_conformance.reporting import RESULTS

SHIM = Path(__file__).parent / "shim"
_POLL_S = 0.5


@dataclass(slots=True)
class Run:
    """One run of one file of tests.

    Args:
        tests: the folder ``tests`` of the source distribution.
        file: which file of it.
        folder: where log and results go.
        workers: how many tests run at once; most of them sleep.
        expression: pytest's ``-k``, or "" for all.
        timeout_s: when to give up; what has not finished then counts as failed.
    """

    tests: Path
    file: str
    folder: Path
    workers: int
    expression: str
    timeout_s: float
    total: int = 0

    @property
    def log(self) -> Path:
        """Everything pytest printed."""
        return self.folder / f"{Path(self.file).stem}.log"

    def outcomes(self) -> Iterator[Outcome]:
        """Start pytest and tell each test as it ends; ``total`` is known once it has collected."""
        results = self.folder / f"{Path(self.file).stem}.jsonl"
        results.unlink(missing_ok=True)
        paths = [SHIM, self.tests, (self.tests / self.file).parent, ROOT]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            RESULTS: str(results),
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
        }
        with self.log.open("w") as log:
            process = subprocess.Popen(self._command(), cwd=ROOT, env=environment, stdout=log, stderr=log)
            try:
                yield from self._follow(process, results)
            finally:
                process.terminate()
                process.wait()

    def _command(self) -> Sequence[str]:
        command = [sys.executable, "-m", "pytest", str(self.tests / self.file), "-c", os.devnull, "--noconftest"]
        command += ["--rootdir", str(self.tests), "--import-mode=importlib", "-p", "no:cacheprovider", "--tb=short"]
        command += ["-p", "tests.local.servicebus_conformance.reporting"]
        command += ["-n", str(self.workers), "--dist", "worksteal"]
        return [*command, "-k", self.expression] if self.expression else command

    def _follow(self, process: subprocess.Popen[bytes], results: Path) -> Iterator[Outcome]:
        end = time.monotonic() + self.timeout_s
        position = 0
        running = True
        while running and time.monotonic() < end:
            # Looked at before the file is read: lines written until the end are not missed.
            running = process.poll() is None
            lines, position = _complete_lines(results, position)
            for line in lines:
                found = json.loads(line)
                if "total" in found:
                    self.total = found["total"]
                else:
                    yield Outcome(found["name"], found["outcome"], found["seconds"], found["text"])
            if running:
                time.sleep(_POLL_S)


def _complete_lines(path: Path, position: int) -> tuple[list[bytes], int]:
    if not path.exists():
        return [], position
    with path.open("rb") as file:
        file.seek(position)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return whole.splitlines(), position + len(whole)
