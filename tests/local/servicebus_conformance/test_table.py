"""The table of skips and what the page says about it agree, and no word of the run is lost."""

from pathlib import Path

import pytest

from tests.local.servicebus_conformance.broker_process import ROOT
from tests.local.servicebus_conformance.microsoft import Run, _complete_lines
from tests.local.servicebus_conformance.outcomes import Outcome, all_well, summary
from tests.local.servicebus_conformance.skips import SKIPS

PAGE = (ROOT / "docs" / "broker.md").read_text("utf-8")


def test_the_page_shows_the_table_of_skips_as_it_is() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith(("| `test_", "| test_"))]
    assert {row[0].strip("`"): row[1] for row in rows} == SKIPS


def test_every_skip_has_a_reason_of_more_than_a_word() -> None:
    assert all(len(reason.split()) > 3 for reason in SKIPS.values())


@pytest.mark.parametrize(
    ("outcomes", "expected", "well"),
    [
        pytest.param(["passed", "skipped"], 2, True, id="all-ran"),
        pytest.param(["passed", "failed"], 2, False, id="one-failed"),
        pytest.param(["passed"], 2, False, id="one-did-not-finish"),
        pytest.param([], 0, False, id="nothing-was-collected"),
    ],
)
def test_only_a_whole_run_without_failures_is_well(outcomes: list[str], expected: int, well: bool) -> None:
    found = [Outcome(f"t{number}", outcome, 1.0, "why") for number, outcome in enumerate(outcomes)]
    assert all_well(found, expected) is well
    text = summary("title", found, expected)
    assert f"{outcomes.count('passed')} passed, {outcomes.count('failed')} failed" in text
    assert ("did not finish" in text) is (len(outcomes) != expected)
    assert text.count("why") == outcomes.count("failed") + 2 * outcomes.count("skipped")


def test_half_a_line_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    assert _complete_lines(path, 0) == ([], 0)
    path.write_bytes(b"one\ntw")
    lines, position = _complete_lines(path, 0)
    assert lines == [b"one"]
    path.write_bytes(b"one\ntwo\n")
    assert _complete_lines(path, position) == ([b"two"], 8)


# As Microsoft's files have them: a decorator that asks for a queue, a test with it, one without, one in the table.
EXAMPLE = """
import pytest
from devtools_testutils import AzureMgmtRecordedTestCase, get_credential
from servicebus_preparer import SERVICEBUS_ENDPOINT_SUFFIX, ServiceBusQueuePreparer
from azure.servicebus import ServiceBusClient, ServiceBusMessage


class TestExample(AzureMgmtRecordedTestCase):
    @ServiceBusQueuePreparer(name_prefix="x", lock_duration="PT5S")
    def test_sends(self, *, servicebus_namespace=None, servicebus_queue=None, **kwargs):
        name = f"{servicebus_namespace.name}{SERVICEBUS_ENDPOINT_SUFFIX}"
        with ServiceBusClient(name, get_credential()) as client:
            with client.get_queue_sender(servicebus_queue.name) as sender:
                sender.send_messages(ServiceBusMessage("x"))

    @ServiceBusQueuePreparer(name_prefix="x", requires_session=True)
    def test_of_sessions(self, **kwargs):
        pass

    def test_queue_operation_negative(self):
        raise AssertionError

    @pytest.mark.skip("because")
    def test_queue_mock_auto_lock_renew_callback(self):
        pass

    @pytest.mark.skip("because")
    def test_skipped_by_somebody(self):
        pass
"""


def test_a_file_is_run_with_the_shim_and_told_test_by_test(tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(EXAMPLE)
    run = Run(tmp_path, "test_example.py", tmp_path, 1, "", 60)
    found = {each.name: each for each in run.outcomes()}
    assert run.total == 5
    assert {name: each.outcome for name, each in found.items()} == {
        "test_sends": "passed",
        "test_of_sessions": "failed",
        "test_queue_operation_negative": "skipped",
        "test_queue_mock_auto_lock_renew_callback": "skipped",
        "test_skipped_by_somebody": "failed",
    }, run.log.read_text()
    assert "no sessions" in found["test_of_sessions"].text
    for name in ("test_queue_operation_negative", "test_queue_mock_auto_lock_renew_callback"):
        assert found[name].text == SKIPS[name]
    assert "not in the table" in found["test_skipped_by_somebody"].text
