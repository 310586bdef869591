import asyncio
import json
import time

import azure.functions as func
from side import blueprint

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
app.register_functions(blueprint)


def echo(req: func.HttpRequest, **more: object) -> func.HttpResponse:
    content = {
        "method": req.method,
        "headers": dict(req.headers),
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode("latin-1"),
        **more,
    }
    return func.HttpResponse(json.dumps(content), mimetype="application/json")


@app.route(route="echo/{*rest}", methods=["GET", "POST"])
def echo_all(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return echo(req, function=context.function_name, trace=context.trace_context.trace_parent)


@app.route(route="echo/exact", methods=["GET"])
async def echo_exact(req: func.HttpRequest) -> func.HttpResponse:
    return echo(req, function="echo_exact")


@app.route(route="items/{id:int}", methods=["GET"])
def item(req: func.HttpRequest) -> str:
    return f"item {req.route_params['id']}"


@app.route(route="raises")
def raises(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("a secret detail")


@app.route(route="wrong")
def wrong(req: func.HttpRequest) -> object:
    return {"not": "an answer"}


@app.route(route="nothing")
def nothing(req: func.HttpRequest) -> None:
    return None


@app.route(route="cookies")
def cookies(req: func.HttpRequest) -> func.HttpResponse:
    answer = func.HttpResponse(bytes(range(256)), status_code=201, mimetype="application/octet-stream")
    answer.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
    answer.headers.add("Set-Cookie", "b=2; Max-Age=60")
    answer.headers["X-Own"] = "yes"
    return answer


@app.route(route="slow/sync")
def slow_sync(req: func.HttpRequest) -> str:
    time.sleep(1.6)
    return "late"


@app.route(route="slow/async")
async def slow_async(req: func.HttpRequest) -> str:
    await asyncio.sleep(30)
    return "late"


@app.route(route="own-timeout")
async def own_timeout(req: func.HttpRequest) -> str:
    raise TimeoutError("mine")


@app.route(route="stop-iteration")
def stop_iteration(req: func.HttpRequest) -> str:
    return next(iter([]))


@app.route(route="exit/sync")
def exit_sync(req: func.HttpRequest) -> str:
    raise SystemExit(3)


@app.route(route="exit/async")
async def exit_async(req: func.HttpRequest) -> str:
    raise SystemExit(3)


@app.route(route="cancelled")
async def cancelled(req: func.HttpRequest) -> str:
    raise asyncio.CancelledError
