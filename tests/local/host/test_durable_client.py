"""The whole of the 1.7.0 client, method by method, unmodified, against a running host."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.durable_functions import DurableOrchestrationClient

from tests.local.host.durable_calls import RPC, Client, Refused
from tests.local.host.process import HostProcess, until


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    running = HostProcess("management", Path(tmp_path_factory.mktemp("management")))
    yield Client(running)
    running.close()


def test_every_method_of_the_client_is_called_somewhere_in_this_file() -> None:
    text = Path(__file__).read_text() + Path(__file__).with_name("durable_calls.py").read_text()
    methods = [name for name in vars(DurableOrchestrationClient) if not name.startswith("_")]
    assert len(methods) >= 18
    assert [name for name in methods if f'"{name}"' not in text and f"/{name}" not in text] == []


def test_start_without_an_id_gets_one(client: Client) -> None:
    made = client("start_new", orchestration_function_name="echo", client_input={"a": [1, None]})
    assert client.ended(made)["output"] == {"a": [1, None]}


def test_start_takes_the_place_of_what_has_ended_and_not_of_what_runs(client: Client) -> None:
    chosen = client.start("echo", "first")
    client.ended(chosen)
    assert client.ended(client.start("echo", "second", chosen))["output"] == "second"
    running = client.start("stages")
    with pytest.raises(Refused, match="already exists"):
        client.start("stages", None, running)
    client("terminate", instance_id=running, reason="over")


def test_a_task_of_its_predecessor_does_not_answer_what_took_its_id(client: Client) -> None:
    chosen = client.start("ponders", "old")
    client.reached(chosen, lambda found: found.get("customStatus") == "pondering")
    client("terminate", instance_id=chosen, reason="over")
    client.start("ponders", "new", chosen)
    assert client.ended(chosen)["output"] == "new"


def test_start_of_what_the_app_does_not_have(client: Client) -> None:
    with pytest.raises(Refused, match="doesn't exist"):
        client.start("nothing")


def test_start_through_the_webhook_may_wait_for_the_end(client: Client) -> None:
    http = client.host.http
    answer = http.post(f"{RPC}/orchestrators/echo?timeout=5&pollingInterval=0.02", json=7)
    assert (answer.status_code, answer.json()["output"]) == (200, 7)
    answer = http.post(f"{RPC}/orchestrators/stages?timeout=0.1&pollingInterval=0.02")
    assert answer.status_code == 202
    assert http.get(answer.headers["location"]).json()["runtimeStatus"] in ("Running", "Pending")
    client("terminate", instance_id=answer.json()["id"], reason="over")


def test_status_shows_input_and_history_only_when_asked(client: Client) -> None:
    chosen = client.start("echo", "given")
    client.ended(chosen)
    plain = client.host.http.get(f"{RPC}/instances/{chosen}?showInput=false").json()
    assert (plain["input"], "historyEvents" in plain) == (None, False)
    assert client.host.http.get(f"{RPC}/instances/{chosen}").json()["input"] == "given"
    told = client.status(chosen, show_history=True, show_input=True)["historyEvents"]
    assert [one["EventType"] for one in told] == ["ExecutionStarted", "TaskCompleted", "ExecutionCompleted"]
    assert (told[0]["FunctionName"], told[0]["Input"]) == ("echo", "given")
    assert told[1]["FunctionName"] == "sturdy"
    assert told[1]["ScheduledTime"] <= told[1]["Timestamp"]
    assert not any("Result" in one or "EventId" in one for one in told)
    shown = client.status(chosen, show_history=True, show_history_output=True)["historyEvents"]
    assert [one.get("Result") for one in shown] == [None, 1, "given"]
    hidden = client.host.http.get(f"{RPC}/instances/{chosen}?showHistory=true&showInput=false").json()["historyEvents"]
    assert not any("Input" in one for one in hidden)


def test_status_of_a_failure_is_an_error_only_when_asked(client: Client) -> None:
    chosen = client.start("raises")
    client.ended(chosen)
    path = f"{RPC}/instances/{chosen}"
    assert client.host.http.get(path).status_code == 200
    asked = client.host.http.get(f"{path}?returnInternalServerErrorOnFailure=true")
    assert (asked.status_code, asked.json()["runtimeStatus"]) == (500, "Failed")


def test_what_runs_says_where_and_when_to_ask_again(client: Client) -> None:
    chosen = client.start("stages")
    answer = client.host.http.get(f"{RPC}/instances/{chosen}")
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "5")
    assert answer.headers["location"].endswith(chosen)
    client("terminate", instance_id=chosen, reason="over")


def test_a_list_has_pages_and_the_token_leads_on(client: Client) -> None:
    prefix = f"paged-{uuid.uuid4().hex[:6]}-"
    made = {client.start("echo", n, f"{prefix}{n}") for n in range(5)}
    http, seen, headers = client.host.http, [], {}
    for expected in (2, 2, 1):
        answer = http.get(f"{RPC}/instances/?instanceIdPrefix={prefix}&top=2", headers=headers)
        assert len(answer.json()) == expected
        seen += [one["instanceId"] for one in answer.json()]
        headers = {"x-ms-continuation-token": answer.headers.get("x-ms-continuation-token", "")}
    assert headers["x-ms-continuation-token"] == ""
    assert (len(seen), set(seen)) == (5, made)
    spoilt = http.get(f"{RPC}/instances/", headers={"x-ms-continuation-token": "spoilt"})
    assert spoilt.status_code == 400


def test_lists_by_time_status_and_prefix(client: Client) -> None:
    prefix = f"listed-{uuid.uuid4().hex[:6]}-"
    done, waits = client.start("echo", 1, f"{prefix}done"), client.start("stages", None, f"{prefix}waits")
    client.ended(done)
    client.reached(waits, lambda found: found.get("customStatus") == "waiting")

    def listed(**options: object) -> list[str]:
        return sorted(one["instanceId"] for one in client("get_status_by", instance_id_prefix=prefix, **options))

    now = datetime.now(UTC)
    early, late = (now - timedelta(hours=1)).isoformat(), (now + timedelta(hours=1)).isoformat()
    assert listed() == [done, waits]
    assert listed(runtime_status=["Running"]) == [waits]
    assert listed(runtime_status=["Completed", "Failed"]) == [done]
    assert listed(created_time_from=early, created_time_to=late) == [done, waits]
    assert listed(created_time_from=late) == listed(created_time_to=early) == []
    assert {done, waits} <= {one["instanceId"] for one in client("get_status_all")}
    refused = client.host.http.get(f"{RPC}/instances/?runtimeStatus=Done")
    assert (refused.status_code, "no such runtimeStatus: Done" in refused.text) == (400, True)
    client("terminate", instance_id=waits, reason="over")


def test_purge_one_and_many(client: Client) -> None:
    since = datetime.now(UTC).isoformat()
    kept, failed, done = client.start("stages"), client.start("raises"), client.start("echo")
    for one in (failed, done):
        client.ended(one)
    with pytest.raises(Refused, match="412"):
        client("purge_instance_history", instance_id=kept)
    by_status = {"created_time_from": since, "runtime_status": ["Failed"]}
    assert client("purge_instance_history_by", **by_status) == 1
    assert client("purge_instance_history_by", **by_status) == 0
    assert client("purge_instance_history", instance_id=failed) == 0
    assert client("purge_instance_history", instance_id=done) == 1
    past = (datetime.now(UTC) - timedelta(days=2)).isoformat()
    assert client("purge_instance_history_by", created_time_from=past, created_time_to=past) == 0
    assert client.status(kept)["runtimeStatus"] in ("Running", "Pending")
    client("terminate", instance_id=kept, reason="over")
    everything = client("purge_instance_history_by", created_time_from=since)
    assert everything >= 1
    assert client.host.http.delete(f"{RPC}/instances/").status_code == 400


def test_suspend_keeps_what_arrives_and_resume_goes_on_with_it(client: Client) -> None:
    chosen = client.start("stages")
    client.reached(chosen, lambda found: found.get("customStatus") == "waiting")
    for _ in range(2):
        client("suspend", instance_id=chosen, reason="a look / a pause")
    client.go(chosen, data="kept")
    assert client.status(chosen)["runtimeStatus"] == "Suspended"
    assert f"sturdy {chosen}-2" not in client.host.lines()
    for _ in range(2):
        client("resume", instance_id=chosen, reason="enough")
    assert client.ended(chosen)["output"] == [1, "kept", 1]
    kinds = [one["EventType"] for one in client.status(chosen, show_history=True)["historyEvents"]]
    assert (kinds.count("ExecutionSuspended"), kinds.count("ExecutionResumed")) == (1, 1)
    client("suspend", instance_id=chosen, reason="too late")  # 410, which the client takes as done
    client("resume", instance_id=chosen, reason="too late")


def test_a_timer_that_comes_while_suspended_fires_after_it(client: Client) -> None:
    chosen = client.start("sleeps", 0.3)
    due = datetime.fromisoformat(
        client.reached(chosen, lambda found: bool(found.get("customStatus")))["customStatus"]["due"]
    )
    client("suspend", instance_id=chosen, reason="wait")
    until(lambda: datetime.now(UTC) > due.replace(tzinfo=UTC) + timedelta(seconds=0.3))
    assert client.status(chosen)["runtimeStatus"] == "Suspended"
    client("resume", instance_id=chosen, reason="go on")
    assert client.ended(chosen)["runtimeStatus"] == "Completed"


def test_terminate_ends_what_is_suspended(client: Client) -> None:
    chosen = client.start("stages")
    client("suspend", instance_id=chosen, reason="wait")
    client("terminate", instance_id=chosen, reason="over")
    assert (client.status(chosen)["runtimeStatus"], client.status(chosen)["output"]) == ("Terminated", "over")


def test_rewind_does_again_only_what_failed(client: Client) -> None:
    chosen = client.start("breaks")
    client.go(chosen, "Unasked", "for later")
    client.go(chosen, data="heard")
    assert client.ended(chosen)["runtimeStatus"] == "Failed"
    client("rewind", instance_id=chosen, reason="try again")  # still broken: it fails a second time
    until(lambda: client.host.lines().count(f"fragile {chosen}") == 2)
    client.ended(chosen)
    client.heal(chosen)
    client("rewind", instance_id=chosen, reason="mended")
    client.reached(chosen, lambda found: found["runtimeStatus"] == "Completed")
    assert client.status(chosen)["output"] == [1, "heard", "mended"]
    assert client.host.lines().count(f"sturdy {chosen}") == 1
    kinds = [one["EventType"] for one in client.status(chosen, show_history=True)["historyEvents"]]
    assert (kinds.count("GenericEvent"), kinds.count("TaskFailed")) == (2, 0)


def test_rewind_of_retried_tasks_that_failed_side_by_side(client: Client) -> None:
    chosen = client.start("breaks_wide")
    assert client.ended(chosen)["runtimeStatus"] == "Failed"
    client.heal(chosen)
    for _ in range(3):  # tasks whose attempts are not used up yet may still fail after the first
        client("rewind", instance_id=chosen, reason="mended")
        if client.ended(chosen)["runtimeStatus"] == "Completed":
            break
    found = client.status(chosen)
    assert found["runtimeStatus"] == "Completed", found
    assert found["output"][:3] == ["mended"] * 3
    assert found["output"][-1] == 1


def test_rewind_goes_down_to_the_child_that_failed(client: Client) -> None:
    key = uuid.uuid4().hex[:8]
    chosen = client.start("breaks_below", {"key": key, "left": 3})
    assert client.ended(chosen)["runtimeStatus"] == "Failed"
    client.heal(key)
    client("rewind", instance_id=chosen, reason="mended")
    client.reached(chosen, lambda found: found["runtimeStatus"] == "Completed")
    assert client.status(chosen)["output"].startswith("mended ")
    assert client.host.lines().count(f"sturdy {key}-3") == 1


def test_rewind_after_a_mistake_in_the_orchestrator(client: Client) -> None:
    chosen = client.start("raises")
    client.ended(chosen)
    client.heal(chosen)
    client("rewind", instance_id=chosen, reason="new code")
    client.reached(chosen, lambda found: found["runtimeStatus"] == "Completed")
    assert client.host.lines().count(f"sturdy {chosen}") == 1


def test_rewind_is_for_failures_only(client: Client) -> None:
    chosen = client.start("echo")
    client.ended(chosen)
    with pytest.raises(Refused, match="Only failed instances can be rewound"):
        client("rewind", instance_id=chosen, reason="why")


def test_restart_with_a_new_id_and_with_its_own(client: Client) -> None:
    chosen = client.start("echo", {"n": 1})
    client.ended(chosen)
    made = client("restart", instance_id=chosen)["id"]  # the client hands on what it is told, and the host tells all
    assert made != chosen
    assert client.ended(made)["output"] == {"n": 1}
    again = client("restart", instance_id=chosen, restart_with_new_instance_id=False)["id"]
    assert again == chosen
    until(lambda: client.host.lines().count(f"sturdy {chosen}") == 2)
    assert client.ended(chosen)["output"] == {"n": 1}
    running = client.start("stages")
    with pytest.raises(Refused, match="409"):
        client("restart", instance_id=running, restart_with_new_instance_id=False)
    client("terminate", instance_id=running, reason="over")


@pytest.mark.parametrize("method", ["terminate", "suspend", "resume", "rewind"])
def test_what_does_not_exist_is_said_to_be_missing(client: Client, method: str) -> None:
    with pytest.raises(Refused, match=r"No instance with ID '?nobody'? found"):
        client(method, instance_id="nobody", reason="why")


def test_restart_and_raise_of_what_does_not_exist(client: Client) -> None:
    with pytest.raises(Refused, match="No instance with ID 'nobody' found"):
        client("restart", instance_id="nobody")
    with pytest.raises(Refused, match="No instance with ID nobody found"):
        client.go("nobody")
    assert client("get_status", instance_id="nobody") is None


def test_an_event_must_be_json(client: Client) -> None:
    chosen = client.start("stages")
    path = f"{RPC}/instances/{chosen}/raiseEvent/Go"
    assert client.host.http.post(path, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert client.host.http.post(path, content=b"text", headers={"content-type": "text/plain"}).status_code == 400
    client("terminate", instance_id=chosen, reason="over")


def test_every_management_address_works_as_it_is_given(client: Client) -> None:
    chosen = client.start("stages")
    client.reached(chosen, lambda found: found.get("customStatus") == "waiting")
    links = client("create_http_management_payload", instance_id=chosen)
    assert links == client("get_client_response_links", request=True, instance_id=chosen)
    assert links["id"] == chosen
    http = client.host.http
    for name in ("suspendPostUri", "resumePostUri"):
        assert http.post(links[name].replace("{text}", "why")).status_code == 202
    assert http.post(links["sendEventPostUri"].replace("{eventName}", "Go"), json="x").status_code == 202
    client.ended(chosen)
    assert http.get(links["statusQueryGetUri"]).json()["output"] == [1, "x", 1]
    assert http.post(links["rewindPostUri"].replace("{text}", "why")).status_code == 412
    assert http.post(links["terminatePostUri"].replace("{text}", "why")).status_code == 410
    assert http.post(links["restartPostUri"]).status_code == 202
    assert http.delete(links["purgeHistoryDeleteUri"]).json() == {"instancesDeleted": 1}
    assert http.get(links["statusQueryGetUri"]).status_code == 404


def test_check_status_responses(client: Client) -> None:
    chosen = client.start("stages")
    http = client.host.http
    answer = http.post("/client/create_check_status_response", json={"request": True, "instance_id": chosen})
    assert (answer.status_code, answer.headers["location"]) == (202, answer.json()["statusQueryGetUri"])
    name, wait = "wait_for_completion_or_create_check_status_response", {"retry_interval_in_milliseconds": 20}
    asked = {"request": True, "instance_id": chosen, "timeout_in_milliseconds": 60, **wait}
    assert http.post(f"/client/{name}", json=asked).status_code == 202
    client.go(chosen)
    answer = http.post(f"/client/{name}", json={**asked, "timeout_in_milliseconds": 5000})
    assert (answer.status_code, answer.json()) == (200, [1, "go", 1])
    failed = client.start("raises")
    answer = http.post(f"/client/{name}", json={**asked, "instance_id": failed, "timeout_in_milliseconds": 5000})
    assert (answer.status_code, answer.json()["runtimeStatus"]) == (500, "Failed")


def test_entities_and_other_hubs_are_refused_in_words(client: Client) -> None:
    for call in (
        lambda: client("signal_entity", entityId=["counter", "one"], operation_name="add", operation_input=1),
        lambda: client("read_entity_state", entityId=["counter", "one"]),
    ):
        with pytest.raises(Refused, match="501"):
            call()
    http = client.host.http
    assert http.get(f"{RPC}/entities/counter/one").json() == "The local host does not support entities."
    assert "one task hub" in http.get(f"{RPC}/instances/x?taskHub=another").json()
    assert http.post(f"{RPC}/instances/x/shake").status_code == 501


def test_continue_as_new_with_children_and_early_events(client: Client) -> None:
    chosen = client.start("ticks", 0)
    for n in range(3):
        client.go(chosen, "Tick", n)
    client.go(chosen, "Tick", "stop")
    assert client.ended(chosen)["output"] == 3
    assert [client.status(f"{chosen}-{n}")["output"] for n in range(3)] == [0, 1, 2]


def test_children_side_by_side_with_and_without_ids(client: Client) -> None:
    chosen = client.start("family")
    assert client.ended(chosen)["output"] == [0, 1, 2, "named"]
    assert client.status(f"{chosen}-named")["name"] == "echo"
