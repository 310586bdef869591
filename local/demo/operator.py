"""What a person does in the demo: deploys, sends an alert, signs in, looks, approves.

In: addresses of a running stack. Out: the same HTTP requests a browser and a deploy pipeline would send.
"""

from __future__ import annotations

import html
import http.cookiejar
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local.demo.shop.signature import sign
from local.stack.places import StackError

SHOP_RESOURCE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-shop/providers/Microsoft.Web/sites/shop"
)


class Person:
    """Somebody with a browser: cookies, forms, and the redirects a browser follows."""

    def __init__(self, portal: str) -> None:
        self._portal = portal
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(jar).open

    def get(self, path: str) -> str:
        """Open a page."""
        with self._open(self._portal + path, timeout=10) as reply:
            return str(reply.read().decode())

    def post(self, path: str, form: dict[str, str]) -> str:
        """Send a form."""
        data = urllib.parse.urlencode(form).encode()
        with self._open(self._portal + path, data, timeout=10) as reply:
            return str(reply.read().decode())

    def sign_in(self, user: str) -> None:
        """Choose who to be on the development sign-in page."""
        self.post("/signin", {**hidden_fields(self.get("/signin")), "user": user})

    def approve(self, approval: str, comment: str) -> None:
        """Open the approval page, read it, and approve the very plan it shows."""
        page = self.get(f"/approvals/{approval}")
        self.post(f"/approvals/{approval}", {**hidden_fields(page, "choice"), "choice": "approve", "comment": comment})


def hidden_fields(page: str, near: str = "") -> dict[str, str]:
    """Hidden fields of the form that holds a control called ``near``, or of the whole page."""
    forms = re.findall(r"<form\b.*?</form>", page, re.S | re.I) or [page]
    chosen = [form for form in forms if not near or f'name="{near}"' in form] or forms
    fields: dict[str, str] = {}
    for tag in re.findall(r"<input\b[^>]*>", chosen[-1], re.I):
        attributes = {name.lower(): html.unescape(value) for name, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
        if attributes.get("type", "").lower() == "hidden" and "name" in attributes:
            fields[attributes["name"]] = attributes.get("value", "")
    return fields


def get_json(url: str) -> Any:
    """JSON behind an address."""
    with urllib.request.urlopen(url, timeout=10) as reply:  # noqa: S310  loopback addresses of our own
        return json.load(reply)


def deploy_release(shop: str, secret: str, version: str, key: str) -> None:
    """Deploy a release to the shop, signed like a pipeline's request."""
    body = json.dumps({"version": version}).encode()
    moment = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": key,
        "webhook-timestamp": str(moment),
        "webhook-signature": sign(secret, key, moment, body),
    }
    urllib.request.urlopen(urllib.request.Request(f"{shop}/deploy", body, headers), timeout=10).close()  # noqa: S310


def azure_alert(fired: datetime) -> bytes:
    """An Azure Monitor common-alert-schema body for the shop, as an availability rule would send it."""
    essentials = {
        "alertId": f"{SHOP_RESOURCE[:51]}/providers/Microsoft.AlertsManagement/alerts/{fired:%Y%m%d%H%M%S}-shop",
        "alertRule": "shop-http-5xx",
        "severity": "Sev2",
        "signalType": "Metric",
        "monitorCondition": "Fired",
        "monitoringService": "Platform",
        "alertTargetIDs": [SHOP_RESOURCE],
        "configurationItems": ["shop"],
        "originAlertId": f"{fired:%Y%m%d%H%M%S}-shop-http-5xx",
        "firedDateTime": fired.isoformat().replace("+00:00", "Z"),
        "description": "The shop answers more than 5 % of its requests with a server error.",
        "essentialsVersion": "1.0",
        "alertContextVersion": "1.0",
    }
    condition = {
        "windowSize": "PT1M",
        "allOf": [{"metricName": "Http5xx", "operator": "GreaterThan", "threshold": "5", "metricValue": 42.0}],
    }
    context = {"conditionType": "SingleResourceMultipleMetricCriteria", "condition": condition}
    body = {"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": essentials, "alertContext": context}}
    return json.dumps(body).encode()


def send_alert(http: str, key: str, body: bytes) -> None:
    """Post an alert to the webhook, as an action group would."""
    headers = {"Content-Type": "application/json", "x-functions-key": key}
    request = urllib.request.Request(f"{http}/api/signals/azure_monitor", body, headers)  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def deploy(data: Path, version: str) -> int:
    """Deploy a release to the shop of a running stack (``python -m local break``)."""
    up_file = data / "up.json"
    if not up_file.exists():
        raise StackError(f"there is no {up_file}; start the stack with `make up` first")
    up = json.loads(up_file.read_text(encoding="utf-8"))
    secret = json.loads((data / "secrets.json").read_text(encoding="utf-8"))["ARGUS_SHOP_DEPLOY_SECRET"]
    try:
        deploy_release(up["shop"], secret, version, f"manual-{datetime.now(UTC):%Y%m%d%H%M%S%f}")
    except urllib.error.HTTPError as error:
        raise StackError(f"the shop refused: {error.read().decode(errors='replace')[:300]}") from None
    except OSError:
        raise StackError(f"the shop at {up['shop']} does not answer; is `make up` running?") from None
    print(f"release {version} is deployed to {up['shop']}; watch {up['portal']}/")
    sys.stdout.flush()
    return 0
