import json
import os
import pathlib
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
LOG = pathlib.Path(os.environ["TEST_LOG"])


def note(**fields: object) -> None:
    with LOG.open("a") as out:
        out.write(json.dumps({"at": time.time(), "pid": os.getpid(), **fields}) + "\n")


@app.service_bus_queue_trigger(arg_name="message", queue_name="%SINGLE_QUEUE%", connection="BUS")
def single(message: func.ServiceBusMessage, context: func.Context) -> None:
    content = json.loads(message.get_body())
    note(
        name="begin" if content.get("sleep") else "single",
        content=content,
        message_id=message.message_id,
        delivery=message.delivery_count,
        properties=message.application_properties,
        trace=context.trace_context.trace_parent,
    )
    if content.get("fail"):
        raise RuntimeError("told to fail")
    time.sleep(content.get("sleep", 0))
    if content.get("sleep"):
        note(name="end", content=content)


@app.service_bus_queue_trigger(arg_name="messages", queue_name="many", connection="BUS", cardinality="many")
async def many(messages: list[func.ServiceBusMessage]) -> None:
    note(name="many", bodies=[m.get_body().decode() for m in messages], ids=[m.message_id for m in messages])
