"""Calls of the unmodified Durable client inside the app `management`, and what tests wait for."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from tests.local.host.process import HostProcess, until

RPC = "/runtime/webhooks/durabletask"
FINISHED = ("Completed", "Failed", "Terminated")


class Refused(Exception):
    """What the client raised in the app."""


class Client:
    """The Durable client of a running host; every method is one of the SDK's.

    Args:
        host: runs the app `management`.
    """

    def __init__(self, host: HostProcess) -> None:
        self.host = host

    def __call__(self, method: str, /, **given: object) -> Any:
        answer = self.host.http.post(f"/client/{method}", json=given)
        if answer.status_code == 409:
            raise Refused(answer.text)
        return answer.json() if answer.text else None

    def start(self, name: str, given: object = None, chosen: str | None = None) -> str:
        chosen = chosen or f"{name}-{uuid.uuid4().hex[:8]}"
        assert self("start_new", orchestration_function_name=name, instance_id=chosen, client_input=given) == chosen
        return chosen

    def go(self, chosen: str, event: str = "Go", data: object = "go") -> None:
        self("raise_event", instance_id=chosen, event_name=event, event_data=data)

    def status(self, chosen: str, **options: object) -> dict[str, Any]:
        found: dict[str, Any] = self("get_status", instance_id=chosen, **options)
        return found

    def reached(self, chosen: str, probe: Callable[[dict[str, Any]], bool], within_s: float = 30.0) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.status(chosen)
            return found if probe(found) else None

        return until(look, within_s, f"a state of {chosen}, which is {self.status(chosen)}")

    def ended(self, chosen: str, within_s: float = 30.0) -> dict[str, Any]:
        return self.reached(chosen, lambda found: found["runtimeStatus"] in FINISHED, within_s)

    def heal(self, key: str) -> None:
        with self.host.log.open("a") as out:
            out.write(f"heal {key}\n")
