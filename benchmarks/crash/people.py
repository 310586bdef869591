"""Senders and people who do not give up: they try again until they are answered, as those outside do.

In: a running stack whose processes die and come back. Out: alerts accepted, votes cast, releases deployed.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import TypeVar

from benchmarks.crash.town import Town
from local.demo.operator import Person, deploy_release, hidden_fields
from shared.model.errors import TransientError
from shared.records import approvals

T = TypeVar("T")
PAUSE_S = 0.25
TRIES_S = 600.0
OPERATOR = "olga"
AWAY = (OSError, http.client.HTTPException, TransientError)


class GaveUp(Exception):
    """Something did not happen in time; the message says what."""


def until(what: str, look: Callable[[], T | None], within_s: float = TRIES_S, pause_s: float = PAUSE_S) -> T:
    """Wait until ``look`` finds something; a process between two lives, and a store that is busy, are waited for.

    Raises:
        GaveUp: it did not in time.
    """
    deadline, pause = time.monotonic() + within_s, threading.Event()
    while True:
        try:
            found = look()
        except AWAY:
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            raise GaveUp(f"waited {within_s:.0f} s for {what}")
        pause.wait(pause_s)


class People:
    """Everybody outside."""

    def __init__(self, town: Town) -> None:
        self._town = town

    def send(self, source: str, body: bytes) -> None:
        """Post a webhook until it is accepted."""
        until(f"the alert to {source} to be accepted", lambda: self._posted(source, body))

    def _posted(self, source: str, body: bytes) -> bool:
        headers = {"x-functions-key": self._town.secrets["ARGUS_KEY_DEFAULT"], "content-type": "application/json"}
        address = f"{self._town.url('http')}/api/signals/{source}"
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=10) as reply:  # noqa: S310
            return bool(reply.status == 202)

    def vote(self, approval: str, choice: str) -> None:
        """Sign in, read the plan and decide, until the vote is kept."""
        store = self._town.open_store()

        def voted() -> bool:
            if approvals.votes_of(store, approval) or approvals.decision_of(store, approval):
                return True
            person = Person(self._town.url("http"))
            person.sign_in(OPERATOR)
            page = person.get(f"/approvals/{approval}")
            form = {**hidden_fields(page, "choice"), "choice": choice, "comment": "the harness says so"}
            person.post(f"/approvals/{approval}", form)
            return False  # whether it was kept, the store knows

        until(f"the vote on {approval} to be kept", voted)

    def look_again(self, incident_id: str) -> None:
        """Ask for another investigation."""

        def asked() -> bool:
            person = Person(self._town.url("http"))
            person.sign_in(OPERATOR)
            page = person.get(f"/incidents/{incident_id}")
            person.post(f"/incidents/{incident_id}/investigate", hidden_fields(page))
            return True

        until(f"another look at {incident_id}", asked)

    def deploy(self, version: str, key: str) -> None:
        """Deploy a release to the shop."""

        def deployed() -> bool:
            deploy_release(self._town.url("shop"), self._town.secrets["ARGUS_SHOP_DEPLOY_SECRET"], version, key)
            return True

        until(f"release {version} to be deployed", deployed)
