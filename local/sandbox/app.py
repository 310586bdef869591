"""The sandbox as one application.

In: memory, secrets, clock. Out: an ASGI application with every stand-in, the page and the test controls.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from local.sandbox import page, teams, webhook
from local.sandbox.confluence import content, pages
from local.sandbox.confluence.site import ROOT
from local.sandbox.exchange import Play, Sandbox, endpoint
from local.sandbox.faults import FaultGate, plan_fault
from local.sandbox.servicenow.tables import SYSTEM as SERVICENOW
from local.sandbox.servicenow.tables import table

CONFLUENCE = "confluence"


def create_app(sandbox: Sandbox) -> ASGIApp:
    """Build the application; the caller owns ``sandbox.store`` and closes it."""

    def route(path: str, system: str, play: Play, *methods: str) -> Route:
        return Route(path, endpoint(sandbox, system, play), methods=list(methods))

    rows = table(sandbox)
    v2, v1 = f"{ROOT}/api/v2", f"{ROOT}/rest/api/content/{{id}}"
    properties, attachments = pages.properties(sandbox), content.attachments(sandbox)
    labels, spaces = content.labels(sandbox), pages.spaces(sandbox)
    routes = [
        Route("/", page.index(sandbox), methods=["GET"]),
        Route("/api/received/{system}", page.received_json(sandbox), methods=["GET"]),
        Route("/_received", page.clear(sandbox), methods=["DELETE"]),
        Route("/_faults", plan_fault(sandbox), methods=["POST"]),
        route("/teams/workflows/{id}", teams.SYSTEM, teams.webhook(sandbox, teams.Throttle()), "POST"),
        route("/webhook/{id}", webhook.SYSTEM, webhook.receiver(sandbox), "POST"),
        route("/servicenow/api/now/table/{table}", SERVICENOW, rows, "GET", "POST"),
        route("/servicenow/api/now/table/{table}/{sys_id}", SERVICENOW, rows, "GET", "PUT", "PATCH", "DELETE"),
        route(f"{v2}/spaces", CONFLUENCE, spaces, "GET"),
        route(f"{v2}/spaces/{{id}}", CONFLUENCE, spaces, "GET"),
        route(f"{v2}/pages", CONFLUENCE, pages.page_list(sandbox), "GET", "POST"),
        route(f"{v2}/pages/{{id}}", CONFLUENCE, pages.page_one(sandbox), "GET", "PUT", "DELETE"),
        route(f"{v2}/pages/{{id}}/labels", CONFLUENCE, pages.labels(sandbox), "GET", "POST"),
        route(f"{v2}/pages/{{id}}/properties", CONFLUENCE, properties, "GET", "POST"),
        route(f"{v2}/pages/{{id}}/properties/{{property_id}}", CONFLUENCE, properties, "GET", "PUT", "DELETE"),
        route(f"{v2}/pages/{{id}}/attachments", CONFLUENCE, attachments, "GET"),
        route(f"{v1}/label", CONFLUENCE, labels, "GET", "POST"),
        route(f"{v1}/child/attachment", CONFLUENCE, attachments, "GET", "POST", "PUT"),
        Route(f"{ROOT}/spaces/{{key}}/pages/{{id}}", page.document(sandbox), methods=["GET"]),
        Route(f"{ROOT}/spaces/{{key}}/pages/{{id}}/{{slug:path}}", page.document(sandbox), methods=["GET"]),
    ]
    return FaultGate(Starlette(routes=routes), sandbox)
