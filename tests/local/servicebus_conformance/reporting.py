"""A pytest plugin: skips what the table names and writes one JSON line per finished test.

In: pytest's hooks, and the path in ``ARGUS_CONFORMANCE_RESULTS``. Out: lines with name, outcome, seconds, text.
"""

import json
import os
from pathlib import Path

import pytest

from tests.local.servicebus_conformance.skips import SKIPS

RESULTS = "ARGUS_CONFORMANCE_RESULTS"


def pytest_configure(config: pytest.Config) -> None:
    """Know the markers that the SDK's own conftest registers."""
    for marker in ("liveTest", "live_test_only", "playback_test_only", "asyncio"):
        config.addinivalue_line("markers", f"{marker}: of the SDK's repository")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the table names, for the reason it gives."""
    for item in items:
        reason = SKIPS.get(getattr(item, "originalname", item.name))
        if reason is not None:
            # In front of a skip of Microsoft's own: one table has all the reasons.
            item.add_marker(pytest.mark.skip(reason=reason), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell how many there are; with xdist each worker collects the same."""
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        _write({"total": len(session.items)})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell the end of a test, or why it could not begin."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        return  # the main process hears of it too
    if report.when == "call" or report.outcome != "passed":
        name = report.nodeid.rsplit("::", 1)[-1].partition("[")[0]
        outcome, text = report.outcome, report.longreprtext
        if outcome == "skipped":
            text = SKIPS.get(name, "")
            if not text:
                outcome, text = "failed", f"skipped, and not in the table: {report.longreprtext}"
        _write({"name": name, "outcome": outcome, "seconds": report.duration, "text": text})


def _write(line: dict[str, object]) -> None:
    with Path(os.environ[RESULTS]).open("a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")
