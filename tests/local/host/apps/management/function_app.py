import json
import os
import pathlib
import time
from datetime import datetime, timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LOG = pathlib.Path(os.environ["TEST_LOG"])
Status = df.OrchestrationRuntimeStatus


def note(text: str) -> int:
    with LOG.open("a") as out:
        out.write(text + "\n")
    return LOG.read_text().splitlines().count(text)


def healed(key: str) -> bool:
    return f"heal {key}" in LOG.read_text().splitlines()


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def plain(value: object) -> object:
    if hasattr(value, "runtime_status") and not value:
        return None
    if hasattr(value, "runtime_status"):
        history = getattr(value, "historyEvents", None)
        return {**value.to_json(), **({"historyEvents": history} if history is not None else {})}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "instances_deleted"):
        return value.instances_deleted
    return value


@app.route(route="client/{method}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def call_client(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Any method of the client, with keyword arguments from the body."""
    given = req.get_json()
    for name in ("created_time_from", "created_time_to"):
        if name in given:
            given[name] = moment(given[name])
    if "runtime_status" in given:
        given["runtime_status"] = [Status(one) for one in given["runtime_status"]]
    if "entityId" in given:
        given["entityId"] = df.EntityId(*given["entityId"])
    method = getattr(client, req.route_params["method"])
    if given.pop("request", False):
        given["request"] = req
    try:
        answer = method(**given)
        answer = await answer if hasattr(answer, "__await__") else answer
    except Exception as exc:  # noqa: BLE001 - the client raises nothing narrower
        return func.HttpResponse(f"{type(exc).__name__}: {exc}", status_code=409)
    if isinstance(answer, func.HttpResponse):
        return answer
    return func.HttpResponse(json.dumps(plain(answer)), mimetype="application/json")


@app.activity_trigger(input_name="key")
def fragile(key: str) -> str:
    note(f"fragile {key}")
    if not healed(key):
        raise ValueError("still broken")
    return "mended"


@app.activity_trigger(input_name="key")
def sturdy(key: str) -> int:
    return note(f"sturdy {key}")


@app.activity_trigger(input_name="key")
def slow(key: str) -> int:
    time.sleep(0.4)
    return note(f"slow {key}")


@app.activity_trigger(input_name="key")
def ponder(key: str) -> str:
    time.sleep(0.4)
    return key


def retry(attempts: int) -> df.RetryOptions:
    return df.RetryOptions(first_retry_interval_in_milliseconds=20, max_number_of_attempts=attempts)


@app.orchestration_trigger(context_name="context")
def echo(context: df.DurableOrchestrationContext):
    yield context.call_activity("sturdy", context.instance_id)
    return context.get_input()


@app.orchestration_trigger(context_name="context")
def ponders(context: df.DurableOrchestrationContext):
    context.set_custom_status("pondering")
    return (yield context.call_activity("ponder", context.get_input()))


@app.orchestration_trigger(context_name="context")
def stages(context: df.DurableOrchestrationContext):
    """Works, waits for an event, works again."""
    first = yield context.call_activity("sturdy", f"{context.instance_id}-1")
    context.set_custom_status("waiting")
    given = yield context.wait_for_external_event("Go")
    second = yield context.call_activity("sturdy", f"{context.instance_id}-2")
    return [first, given, second]


@app.orchestration_trigger(context_name="context")
def breaks(context: df.DurableOrchestrationContext):
    """Has done and has heard something before what fails."""
    key = context.instance_id
    before = yield context.call_activity("sturdy", key)
    given = yield context.wait_for_external_event("Go")
    mended = yield context.call_activity("fragile", key)
    return [before, given, mended]


@app.orchestration_trigger(context_name="context")
def breaks_wide(context: df.DurableOrchestrationContext):
    """Several retried tasks that fail together, beside some that do not; then one more task."""
    key = context.instance_id
    tasks = [context.call_activity_with_retry("fragile", retry(2), key) for _ in range(3)]
    tasks += [context.call_activity("slow", key), context.call_activity("sturdy", key)]
    done = yield context.task_all(tasks)
    after = yield context.call_activity("sturdy", f"{key}-after")
    return [*done, after]


@app.orchestration_trigger(context_name="context")
def breaks_below(context: df.DurableOrchestrationContext):
    """Falls over a child that falls over a child."""
    depth = context.get_input()
    if depth["left"] == 0:
        return (yield context.call_activity("fragile", depth["key"]))
    steady = yield context.call_activity("sturdy", f"{depth['key']}-{depth['left']}")
    below = {"key": depth["key"], "left": depth["left"] - 1}
    if depth["left"] == 2:
        mended = yield context.call_sub_orchestrator_with_retry("breaks_below", retry(2), below)
    else:
        mended = yield context.call_sub_orchestrator("breaks_below", below)
    return f"{mended} {steady}"


@app.orchestration_trigger(context_name="context")
def raises(context: df.DurableOrchestrationContext):
    seen = yield context.call_activity("sturdy", context.instance_id)
    if not healed(context.instance_id):
        raise ValueError("a mistake in the orchestrator")
    return seen


@app.orchestration_trigger(context_name="context")
def sleeps(context: df.DurableOrchestrationContext):
    due = context.current_utc_datetime + timedelta(seconds=context.get_input())
    context.set_custom_status({"due": due.isoformat()})
    yield context.create_timer(due)
    return {"due": due.isoformat(), "now": context.current_utc_datetime.isoformat()}


@app.orchestration_trigger(context_name="context")
def ticks(context: df.DurableOrchestrationContext):
    """Eternal: begins anew for each event, and hands on what it has counted."""
    count = context.get_input()
    given = yield context.wait_for_external_event("Tick")
    if given == "stop":
        return count
    yield context.call_sub_orchestrator("echo", given, f"{context.instance_id}-{count}")
    context.continue_as_new(count + 1)


@app.orchestration_trigger(context_name="context")
def family(context: df.DurableOrchestrationContext):
    """Children with ids of their own and without, side by side."""
    own = f"{context.instance_id}-named"
    children = [context.call_sub_orchestrator("echo", n) for n in range(3)]
    children.append(context.call_sub_orchestrator("echo", "named", own))
    return (yield context.task_all(children))
