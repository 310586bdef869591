"""A deployment endpoint: one signed POST to a configured address.

In: an action request. Out: what the endpoint answered, sent once and never again; what is unclear is read back.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http, signing
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.action import ActionRequest
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.ports.action import Settled

SYSTEM = "the deploy endpoint"
MAX_VALUE_CHARS = 200
RESERVED = frozenset({"action", "target", "idempotency_key", "incident"})


class DeployHookConfig(Section):
    """One deployment endpoint and what may be asked of it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(default="", description="Address to POST to; `{target}` is filled in. Empty: the action is off.")
    status_url: str = Field(
        default="", description="Address whose JSON tells the target's facts, with `{target}`; empty: no facts."
    )
    settle_url: str = Field(
        default="",
        description='Address that answers `{"applied": bool}` for `{key}`, with `{target}`; empty: a lost answer stays '
        "unclear and a person must look.",
    )
    secret: SecretStr = Field(default=SecretStr(""), description="Signing secret; the endpoint has it, too.")
    verb: str = Field(default="", description="`action` in the body; empty: the configured name of the action.")
    allowed_targets: list[str] = Field(default_factory=list, description="Targets it may act on.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Parameters by name, each with the pattern its whole value must match."
    )
    facts: list[str] = Field(default_factory=lambda: ["version"], description="Fields of `status_url` that are facts.")
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for an answer, in seconds.")

    @model_validator(mode="after")
    def _usable(self) -> DeployHookConfig:
        for name in ("url", "status_url", "settle_url"):
            problem = http.address_problem(getattr(self, name)) if getattr(self, name) else ""
            if problem:
                raise ValueError(f"{name}: {problem}")
        if self.url:
            signing.key_of(self.secret.get_secret_value())
        if self.settle_url and "{key}" not in self.settle_url:
            raise ValueError("settle_url must contain {key}")
        for name, pattern in self.parameters.items():
            if name in RESERVED:
                raise ValueError(f"a parameter cannot be called {name}")
            try:
                re.compile(pattern)
            except re.error as cause:
                raise ValueError(f"the pattern of parameter {name} is none: {cause}") from None
        return self


class DeployHookAction:
    """Asks one endpoint to change a target."""

    def __init__(self, config: DeployHookConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._http = http.client(config.timeout_s)

    def facts(self, target: str) -> Mapping[str, str]:
        """Live facts; see the port `shared.ports.action`.

        Raises:
            TransientError: the target cannot be read now; ``sent`` speaks of this reading only.
            PermanentError: it answers, but not with its facts.
        """
        if not self._config.status_url:
            return {}
        self._expect_target(target)
        try:
            said = self._read(self._config.status_url, target, "")
        except TransientError as failure:
            failure.sent = False
            raise
        if not isinstance(said, dict):
            raise PermanentError(f"{SYSTEM} did not tell the facts of {target}", Reason.REFUSED)
        facts = {name: _text(said.get(name)) for name in self._config.facts}
        return {name: value for name, value in facts.items() if value}

    def allowed(self, request: ActionRequest) -> str:
        """Why the configuration forbids a request; see the port."""
        if not self._config.url:
            return "the action is switched off: it has no url"
        if request.target not in self._config.allowed_targets:
            return f"target {request.target[:60]!r} is not among allowed_targets"
        for name in request.parameters:
            if name not in self._config.parameters:
                return f"parameter {name[:60]!r} is not configured"
        for name, pattern in self._config.parameters.items():
            value = request.parameters.get(name)
            if value is None:
                return f"parameter {name} is missing"
            if len(value) > MAX_VALUE_CHARS or not re.fullmatch(pattern, value):
                return f"parameter {name} does not match its pattern"
        return ""

    def run(self, request: ActionRequest) -> str:
        """Send the request once; see the port."""
        reason = self.allowed(request)
        if reason:
            raise PermanentError(reason, Reason.REFUSED)
        said = {
            **request.parameters,
            "action": self._config.verb or request.action,
            "target": request.target,
            "idempotency_key": request.key,
            "incident": request.incident_id,
        }
        body = json.dumps(said).encode()
        headers = signing.sign(self._config.secret.get_secret_value(), request.key, int(self._clock()), body)
        headers["content-type"] = "application/json"
        address = _filled(self._config.url, request.target, request.key)
        timeout_s = self._config.timeout_s
        reply = http.call(self._http, SYSTEM, "POST", address, content=body, headers=headers, timeout_s=timeout_s)
        failure = http.refusal(SYSTEM, reply.status, reply.headers, action=True)
        if failure is not None:
            raise failure
        answer = reply.json()
        told = {name: _text(answer.get(name)) for name in ("message", "version")} if isinstance(answer, dict) else {}
        words = ", ".join(f"{name} {value}" for name, value in told.items() if value)
        return f"accepted with {reply.status}{': ' if words else ''}{words}"

    def settle(self, request: ActionRequest) -> Settled:
        """Ask whether an earlier attempt happened; see the port.

        Raises:
            TransientError: nobody can tell right now; ``sent`` is ``None``, so that the attempt stays unclear.
        """
        if not self._config.settle_url or request.target not in self._config.allowed_targets:
            return Settled.UNKNOWN
        try:
            said = self._read(self._config.settle_url, request.target, request.key)
        except TransientError as failure:
            failure.sent = None
            raise
        except PermanentError:
            return Settled.UNKNOWN
        applied = said.get("applied") if isinstance(said, dict) else None
        if not isinstance(applied, bool):
            return Settled.UNKNOWN
        return Settled.DONE if applied else Settled.NOT_DONE

    def _expect_target(self, target: str) -> None:
        if target not in self._config.allowed_targets:
            raise PermanentError(f"target {target[:60]!r} is not among allowed_targets", Reason.REFUSED)

    def _read(self, template: str, target: str, key: str) -> object:
        address, timeout_s = _filled(template, target, key), self._config.timeout_s
        reply = http.call(self._http, SYSTEM, "GET", address, timeout_s=timeout_s)
        failure: ArgusError | None = http.refusal(SYSTEM, reply.status, reply.headers)
        if failure is not None:
            raise failure
        return reply.json()


def _filled(template: str, target: str, key: str) -> str:
    return template.replace("{target}", quote(target, safe="")).replace("{key}", quote(key, safe=""))


def _text(value: object) -> str:
    """A scalar as text; what the far side says is untrusted, so it is cut and printable."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        return ""
    return "".join(c for c in str(value)[:MAX_VALUE_CHARS] if c.isprintable())


def build(name: str, config: DeployHookConfig, surroundings: Surroundings) -> DeployHookAction:
    """The action of one section."""
    return DeployHookAction(config)
