"""Durable functions of a running host, through the unmodified 1.7.0 client and orchestrator code."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.local.host.conftest import StartHost
from tests.local.host.process import HostProcess, until

FINISHED = ("Completed", "Failed", "Terminated")
RPC = "/runtime/webhooks/durabletask"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    running = HostProcess("durable", Path(tmp_path_factory.mktemp("durable")))
    yield running
    running.close()


def begin(host: HostProcess, name: str, given: object = None, chosen: str | None = None) -> str:
    made = chosen or f"{name}-{uuid.uuid4().hex[:8]}"
    answer = host.http.post(f"/start/{name}/{made}", json=given)
    assert (answer.status_code, answer.text) == (202, made)
    return made


def status(host: HostProcess, chosen: str) -> Any:
    return host.http.post(f"/do/status/{chosen}").json()


def ended(host: HostProcess, chosen: str, within_s: float = 30.0) -> Any:
    def probe() -> Any:
        found = status(host, chosen)
        return found if found["runtimeStatus"] in FINISHED else None

    return until(probe, within_s, f"the end of {chosen}")


def reached(host: HostProcess, chosen: str, probe: Callable[[Any], bool]) -> Any:
    return until(lambda: (found := status(host, chosen)) and probe(found) and found, what=f"a state of {chosen}")


def test_a_chain_with_input_output_and_custom_status(host: HostProcess) -> None:
    given = {"text": "hi", "list": [1, None, "ä"]}
    found = ended(host, begin(host, "chain", given))
    assert found["runtimeStatus"] == "Completed"
    assert found["output"] == {"first": "HI", "second": "HI!", "given": given}
    assert found["customStatus"] == {"stage": "second"}
    assert found["name"] == "chain"


def test_activities_are_retried_side_by_side(host: HostProcess) -> None:
    found = ended(host, begin(host, "retrying"))
    assert (found["runtimeStatus"], found["output"]) == ("Completed", [3, 3, "AFTER"])


def test_an_activity_that_always_fails_ends_the_orchestration_after_its_attempts(host: HostProcess) -> None:
    chosen = begin(host, "failing")
    found = ended(host, chosen)
    assert found["runtimeStatus"] == "Failed"
    assert "never works" in found["output"]
    assert host.lines().count(f"hopeless {chosen}") == 2


def test_an_orchestrator_can_catch_a_failed_activity(host: HostProcess) -> None:
    assert ended(host, begin(host, "recovering"))["output"] == "PLAN B"


def test_an_orchestrator_that_raises_fails_with_its_message(host: HostProcess) -> None:
    found = ended(host, begin(host, "raising"))
    assert (found["runtimeStatus"], found["output"]) == ("Failed", "orchestrator gave up")


@pytest.mark.parametrize("early", [True, False], ids=["early-event", "event-while-waiting"])
def test_the_event_wins_and_the_timer_is_cancelled(host: HostProcess, early: bool) -> None:
    chosen = begin(host, "waiting", 60)
    if not early:
        reached(host, chosen, lambda found: "customStatus" in found)
    assert host.http.post(f"/do/raise/{chosen}/Approval", json={"by": "me"}).text == "ok"
    found = ended(host, chosen)
    assert found["output"] == {"winner": "event", "data": {"by": "me"}, "rest": "APPROVED"}


def test_the_timer_wins_at_its_deadline(host: HostProcess) -> None:
    found = ended(host, begin(host, "waiting", 0.4))
    assert found["output"]["winner"] == "timer"
    assert found["output"]["at"] >= found["customStatus"]["deadline"]


def test_early_events_are_kept_in_order_each_once(host: HostProcess) -> None:
    chosen = begin(host, "two_events")
    for number in (1, 2):
        host.http.post(f"/do/raise/{chosen}/E", json=number)
    assert ended(host, chosen)["output"] == [1, 2]


def test_continue_as_new_keeps_events_that_came_early(host: HostProcess) -> None:
    chosen = begin(host, "counting", 3)
    for number in (1, 2, 3):
        host.http.post(f"/do/raise/{chosen}/Go", json=number)
    assert ended(host, chosen)["output"] == ["LEFT 1", 3]


def test_fan_out(host: HostProcess) -> None:
    assert ended(host, begin(host, "fan_out", 60), 20)["output"] == 60


def test_children_and_their_failures_reach_the_parent(host: HostProcess) -> None:
    assert ended(host, begin(host, "parent"))["output"] == {"child": "CHILD!", "failed": True}


def test_terminate(host: HostProcess) -> None:
    chosen = begin(host, "waiting", 60)
    assert host.http.post(f"/do/terminate/{chosen}").text == "ok"
    assert status(host, chosen)["runtimeStatus"] == "Terminated"
    assert status(host, chosen)["output"] == "because / why"
    assert "gone" in host.http.post(f"/do/raise/{chosen}/Approval", json=1).text
    assert host.http.post(f"/do/terminate/{chosen}").text == "ok"  # 410, which the client takes as done


def test_what_is_missing(host: HostProcess) -> None:
    assert status(host, "nobody") is None
    assert "No instance with ID nobody" in host.http.post("/do/raise/nobody/E", json=1).text
    assert "doesn't exist" in host.http.post("/start/no_such_orchestrator/x").text


def test_an_existing_id_is_refused_while_it_runs(host: HostProcess) -> None:
    chosen = begin(host, "waiting", 60)
    answer = host.http.post(f"/start/chain/{chosen}", json={"text": "y"})
    assert (answer.status_code, "already exists" in answer.text) == (409, True)
    host.http.post(f"/do/terminate/{chosen}")
    begin(host, "chain", {"text": "y"}, chosen)
    assert ended(host, chosen)["output"]["first"] == "Y"
    assert host.http.post(f"/do/purge/{chosen}").text == "1"
    assert status(host, chosen) is None


def test_purge_leaves_what_runs(host: HostProcess) -> None:
    chosen = begin(host, "waiting", 60)
    assert "412" in host.http.post(f"/do/purge/{chosen}").text
    assert status(host, chosen)["instanceId"] == chosen
    host.http.post(f"/do/terminate/{chosen}")


def test_list_by_prefix_and_webhook_filters(host: HostProcess) -> None:
    names = sorted(begin(host, "chain", {"text": "x"}, f"listed-{n}-{uuid.uuid4().hex[:6]}") for n in range(2))
    assert host.http.post("/do/list/listed-").json() == names
    for name in names:
        ended(host, name)
    found = host.http.get(f"{RPC}/instances?instanceIdPrefix=listed-&runtimeStatus=Failed").json()
    assert found == []
    future = host.http.get(f"{RPC}/instances?instanceIdPrefix=listed-&createdTimeFrom=2999-01-01T00:00:00Z").json()
    assert future == []
    answer = host.http.request("DELETE", f"{RPC}/instances?createdTimeFrom=2020-01-01&runtimeStatus=Completed")
    assert answer.json()["instancesDeleted"] >= 2


def test_a_plain_webhook_caller_needs_no_double_encoding(host: HostProcess) -> None:
    chosen = f"webhook-{uuid.uuid4().hex[:8]}"
    assert host.http.post(f"{RPC}/orchestrators/chain/{chosen}", json={"text": "w"}).json()["id"] == chosen
    assert ended(host, chosen)["output"]["first"] == "W"
    shown = host.http.get(f"{RPC}/instances/{chosen}?showHistory=true").json()
    assert shown["input"] == {"text": "w"}
    assert shown["historyEvents"][0]["FunctionName"] == "chain"


def test_entities_fail_the_orchestration_in_words(host: HostProcess) -> None:
    found = ended(host, begin(host, "entity_user"))
    assert found["output"] == "call_entity is not supported by the local host"


def test_an_orchestrator_that_is_not_deterministic_is_found_out(host: HostProcess) -> None:
    found = ended(host, begin(host, "random_one"))
    assert found["runtimeStatus"] == "Failed"
    assert "not deterministic" in found["output"]


def test_kill_while_waiting_keeps_the_deadline_and_takes_the_event(start_host: StartHost) -> None:
    first = start_host("durable")
    waits = begin(first, "waiting", 60)
    short = begin(first, "waiting", 1.5)
    held = begin(first, "counting", 2)
    deadlines = {w: reached(first, w, lambda found: "customStatus" in found)["customStatus"] for w in (waits, short)}
    first.http.post(f"/do/raise/{held}/Unasked", json=1)
    first.kill()
    second = start_host("durable")
    assert status(second, waits)["customStatus"] == deadlines[waits]
    second.http.post(f"/do/raise/{waits}/Approval", json="yes")
    assert ended(second, waits)["output"]["data"] == "yes"
    timed = ended(second, short)["output"]
    assert timed["winner"] == "timer"
    late = datetime.fromisoformat(timed["at"]) - datetime.fromisoformat(deadlines[short]["deadline"])
    assert 0 <= late.total_seconds() < 8
    second.http.post(f"/do/raise/{held}/Go", json=1)
    second.http.post(f"/do/raise/{held}/Go", json=2)
    assert ended(second, held)["output"] == ["LEFT 1", 2]


def test_kill_in_mid_activity_runs_it_again(start_host: StartHost) -> None:
    first = start_host("durable")
    chosen = begin(first, "long_activity")
    until(lambda: f"begin {chosen}" in first.lines())
    first.kill()
    second = start_host("durable")
    assert ended(second, chosen)["output"] == "done"
    assert second.lines().count(f"begin {chosen}") == 2
    assert second.lines().count(f"end {chosen}") == 1


def test_sigterm_lets_a_running_activity_end_and_the_next_host_goes_on(start_host: StartHost) -> None:
    first = start_host("durable")
    chosen = begin(first, "long_activity")
    until(lambda: f"begin {chosen}" in first.lines())
    assert first.terminate() == 0
    assert f"end {chosen}" in first.lines()
    second = start_host("durable")
    assert ended(second, chosen)["output"] == "done"
    assert second.lines().count(f"begin {chosen}") == 1


def test_timestamps_are_utc(host: HostProcess) -> None:
    created = datetime.fromisoformat(status(host, begin(host, "chain", {"text": "x"}))["createdTime"][:26] + "+00:00")
    assert abs((datetime.now(UTC) - created).total_seconds()) < 30
