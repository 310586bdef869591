"""Any receiver of signed JSON.

In: notices. Out: one POST each, signed as Standard Webhooks says; receivers drop repeats by ``webhook-id``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http, signing
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.codec import to_json
from shared.model.notice import Notice

SYSTEM = "the webhook receiver"
EVENT_TYPE = "argus.notice.v1"


class WebhookConfig(Section):
    """A receiver that verifies Standard Webhooks signatures."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(description="Address to POST to; https, or http on loopback.")
    secret: SecretStr = Field(description="Signing secret, `whsec_` and base64 or any text; the receiver has it too.")
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for the receiver, in seconds.")

    @model_validator(mode="after")
    def _usable(self) -> WebhookConfig:
        problem = http.address_problem(self.url.get_secret_value())
        if problem:
            raise ValueError(problem)
        signing.key_of(self.secret.get_secret_value())
        return self


class WebhookChannel:
    """Posts notices as JSON."""

    def __init__(self, config: WebhookConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._http = http.client(config.timeout_s)

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        """Post a notice; see the port `shared.ports.channel`."""
        said = {"service": notice.service, "group": notice.thread, "count": notice.alerts}
        body = json.dumps(
            {"type": EVENT_TYPE, "key": key, "possible_repeat": repeat, **said, "notice": to_json(notice)}
        ).encode()
        headers = signing.sign(self._config.secret.get_secret_value(), key, int(self._clock()), body)
        headers["content-type"] = "application/json"
        reply = http.call(
            self._http,
            SYSTEM,
            "POST",
            self._config.url.get_secret_value(),
            content=body,
            headers=headers,
            timeout_s=self._config.timeout_s,
        )
        failure = http.refusal(SYSTEM, reply.status, reply.headers)
        if failure is not None:
            raise failure
        return f"accepted with {reply.status}"


def build(name: str, config: WebhookConfig, surroundings: Surroundings) -> WebhookChannel:
    """The channel of one section."""
    return WebhookChannel(config)
