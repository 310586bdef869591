import json
import os
import pathlib
import time
from datetime import timedelta

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LOG = pathlib.Path(os.environ["TEST_LOG"])


def note(text: str) -> int:
    with LOG.open("a") as out:
        out.write(text + "\n")
    return LOG.read_text().splitlines().count(text)


@app.route(route="start/{name}/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    body = req.get_body()
    given = json.loads(body) if body else None
    try:
        made = await client.start_new(req.route_params["name"], req.route_params["id"], given)
    except Exception as exc:  # noqa: BLE001 - the client raises nothing narrower
        return func.HttpResponse(f"{type(exc).__name__}: {exc}", status_code=409)
    return func.HttpResponse(made, status_code=202)


@app.route(route="do/{verb}/{id}/{event?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def do(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    verb, chosen = req.route_params["verb"], req.route_params["id"]
    body = req.get_body()
    given = json.loads(body) if body else None
    try:
        if verb == "raise":
            await client.raise_event(chosen, req.route_params["event"], given)
        elif verb == "terminate":
            await client.terminate(chosen, "because / why")
        elif verb == "purge":
            return func.HttpResponse(str((await client.purge_instance_history(chosen)).instances_deleted))
        elif verb == "status":
            status = await client.get_status(chosen, show_input=True)
            return func.HttpResponse(json.dumps(status.to_json() if status else None))
        elif verb == "list":
            found = await client.get_status_by(instance_id_prefix=chosen)
            return func.HttpResponse(json.dumps(sorted(str(one.instance_id) for one in found)))
        else:
            raise LookupError(verb)
    except Exception as exc:  # noqa: BLE001 - the client raises nothing narrower
        return func.HttpResponse(f"{type(exc).__name__}: {exc}", status_code=400)
    return func.HttpResponse("ok")


@app.activity_trigger(input_name="text")
def shout(text: str) -> str:
    note(f"shout {text}")
    return text.upper()


@app.activity_trigger(input_name="key")
def flaky(key: str) -> int:
    count = note(f"flaky {key}")
    if count < 3:
        raise RuntimeError(f"attempt {count}")
    return count


@app.activity_trigger(input_name="key")
def hopeless(key: str) -> None:
    note(f"hopeless {key}")
    raise ValueError("never works")


@app.activity_trigger(input_name="key")
def lengthy(key: str) -> str:
    note(f"begin {key}")
    time.sleep(1.0)
    note(f"end {key}")
    return "done"


def retry(attempts: int) -> df.RetryOptions:
    return df.RetryOptions(first_retry_interval_in_milliseconds=50, max_number_of_attempts=attempts)


@app.orchestration_trigger(context_name="context")
def chain(context: df.DurableOrchestrationContext):
    given = context.get_input()
    first = yield context.call_activity("shout", given["text"])
    context.set_custom_status({"stage": "second"})
    second = yield context.call_activity("SHOUT", first + "!")
    return {"first": first, "second": second, "given": given}


@app.orchestration_trigger(context_name="context")
def retrying(context: df.DurableOrchestrationContext):
    both = [context.call_activity_with_retry("flaky", retry(3), f"{context.instance_id}-{n}") for n in range(2)]
    counts = yield context.task_all(both)
    after = yield context.call_activity("shout", "after")
    return [*counts, after]


@app.orchestration_trigger(context_name="context")
def failing(context: df.DurableOrchestrationContext):
    yield context.call_activity_with_retry("hopeless", retry(2), context.instance_id)


@app.orchestration_trigger(context_name="context")
def recovering(context: df.DurableOrchestrationContext):
    try:
        yield context.call_activity("hopeless", context.instance_id)
    except Exception:  # noqa: BLE001 - the SDK raises nothing narrower
        return (yield context.call_activity("shout", "plan b"))


@app.orchestration_trigger(context_name="context")
def waiting(context: df.DurableOrchestrationContext):
    deadline = context.current_utc_datetime + timedelta(seconds=context.get_input() or 60)
    context.set_custom_status({"deadline": deadline.isoformat()})
    timer = context.create_timer(deadline)
    event = context.wait_for_external_event("Approval")
    winner = yield context.task_any([event, timer])
    if winner == timer:
        return {"winner": "timer", "at": context.current_utc_datetime.isoformat()}
    timer.cancel()
    rest = yield context.call_activity("shout", "approved")
    return {"winner": "event", "data": event.result, "rest": rest}


@app.orchestration_trigger(context_name="context")
def two_events(context: df.DurableOrchestrationContext):
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=0.3))
    first = yield context.wait_for_external_event("E")
    second = yield context.wait_for_external_event("E")
    return [first, second]


@app.orchestration_trigger(context_name="context")
def counting(context: df.DurableOrchestrationContext):
    left = context.get_input()
    word = yield context.call_activity("shout", f"left {left}")
    event = yield context.wait_for_external_event("Go")
    if left > 1:
        context.continue_as_new(left - 1)
        return None
    return [word, event]


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext):
    words = yield context.task_all([context.call_activity("shout", f"w{n}") for n in range(context.get_input())])
    return len(set(words))


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext):
    result = yield context.call_sub_orchestrator("chain", {"text": "child"})
    try:
        yield context.call_sub_orchestrator_with_retry("failing", retry(2))
    except Exception as exc:  # noqa: BLE001 - the client raises nothing narrower
        return {"child": result["second"], "failed": "never works" in str(exc)}


@app.orchestration_trigger(context_name="context")
def long_activity(context: df.DurableOrchestrationContext):
    return (yield context.call_activity("lengthy", context.instance_id))


@app.orchestration_trigger(context_name="context")
def raising(context: df.DurableOrchestrationContext):
    yield context.call_activity("shout", "x")
    raise ValueError("orchestrator gave up")


@app.orchestration_trigger(context_name="context")
def entity_user(context: df.DurableOrchestrationContext):
    yield context.call_entity(df.EntityId("counter", "one"), "get")


@app.orchestration_trigger(context_name="context")
def random_one(context: df.DurableOrchestrationContext):
    yield context.call_activity("shout", "a") if note("random") == 1 else context.wait_for_external_event("never")
