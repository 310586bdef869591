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


@app.timer_trigger(arg_name="timer", schedule="%TICK%")
def tick(timer: func.TimerRequest) -> None:
    note(name="tick", past_due=timer.past_due, due=timer.schedule_status["Next"])


@app.timer_trigger(arg_name="timer", schedule="0 0 3 * * *")
def nightly(timer: func.TimerRequest) -> None:
    note(name="nightly", past_due=timer.past_due)
    time.sleep(0.5)
