"""Microsoft Teams through a Workflows webhook.

In: notices. Out: Adaptive Cards, posted with pymsteams as transport; its own card classes build what Teams dropped.
"""

from __future__ import annotations

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.channels import cards
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.errors import ArgusError
from shared.model.notice import Notice

SYSTEM = "Teams"


class TeamsConfig(Section):
    """A Workflows webhook with the template "Send each adaptive card"."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: SecretStr = Field(description="Webhook address. It is a bearer secret: whoever has it can post.")
    allowed_hosts: tuple[str, ...] = Field(
        default=(".environment.api.powerplatform.com", ".logic.azure.com"),
        description="Hosts the address may have; a leading dot means any host below. Loopback must be listed, too.",
    )
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for Teams, in seconds.")

    @model_validator(mode="after")
    def _address(self) -> TeamsConfig:
        problem = http.address_problem(self.url.get_secret_value(), self.allowed_hosts)
        if problem:
            raise ValueError(problem)
        return self


class TeamsChannel:
    """Posts cards. Teams keeps no key, so a repeat is only marked as such."""

    def __init__(self, config: TeamsConfig) -> None:
        self._config = config

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        """Post a notice; see the port `shared.ports.channel`."""
        failure = self._post(cards.message(notice, repeat))
        if failure is not None:
            raise failure  # here, where no exception is handled: the cause's text has the address in it
        return "card accepted by Teams, marked as a possible repeat" if repeat else "card accepted by Teams"

    def _post(self, message: dict[str, object]) -> ArgusError | None:
        import pymsteams
        from requests import RequestException

        card = pymsteams.connectorcard(self._config.url.get_secret_value(), http_timeout=self._config.timeout_s)
        card.payload = message
        try:
            card.send()
        except pymsteams.TeamsWebhookException:
            pass  # its text is the answer's body; the status below says what it means
        except RequestException as cause:
            return http.broken_off(SYSTEM, cause)
        reply = card.last_http_response
        if reply.history:
            # The library follows redirects; what answered is not the webhook that was configured.
            return http.redirected(SYSTEM)
        return http.refusal(SYSTEM, reply.status_code, reply.headers)


def build(name: str, config: TeamsConfig, surroundings: Surroundings) -> TeamsChannel:
    """The channel of one section."""
    return TeamsChannel(config)
