"""A deploy log over HTTP: what was released to the service.

In: a question and a log that answers with a JSON list. Out: one evidence per deploy, oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.evidence import content
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.diagnosis import Evidence, EvidenceKind, EvidenceStatus
from shared.model.errors import PermanentError, TransientError
from shared.ports.evidence import Question


class ChangesConfig(Section):
    """A deploy log: entries with `at`, `service`, `version`, `previous`, `author`, `message`, `diff`, `rollback_of`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(description="Address, with `{since}` (ISO 8601).")
    token: SecretStr = Field(default=SecretStr(""), description="Sent as a bearer; empty for none.")
    service: str = Field(default="", description="Only asked for this service; empty for every service.")
    lookback_s: float = Field(
        default=0, ge=0, le=2_592_000, description="How far before the baseline deploys still count, in seconds."
    )
    link: str = Field(default="", description="Address of a deploy for people, with `{id}` and `{version}`.")
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for the log, in seconds.")

    @model_validator(mode="after")
    def _address(self) -> ChangesConfig:
        problem = http.address_problem(self.url)
        if problem:
            raise ValueError(problem)
        return self


class ChangesSource:
    """Reads one deploy log."""

    kind = EvidenceKind.CHANGE

    def __init__(self, name: str, config: ChangesConfig) -> None:
        self._name = name
        self._config = config
        self._http = http.client(config.timeout_s)

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """Deploys of the service; see the port `shared.ports.evidence`."""
        config = self._config
        if config.service and config.service != question.service:
            return ()
        start = (question.start - timedelta(seconds=config.lookback_s)).astimezone(UTC)
        url = content.fill(config.url, since=start.isoformat(timespec="milliseconds"))
        query = content.shown(url)
        try:
            answer = content.fetch(self._http, f"deploy log {self._name}", url, config.token, config.timeout_s)
        except (TransientError, PermanentError) as failure:
            return (self._nothing(query, "Deploy log not readable", str(failure), EvidenceStatus.ERROR),)
        if not isinstance(answer, list):
            words = "the answer is neither a JSON list nor JSON lines"
            return (self._nothing(query, "Deploy log not readable", words, EvidenceStatus.ERROR),)
        deploys = []
        for entry in answer:
            at = content.parse_time(entry.get("at")) if isinstance(entry, dict) else None
            if at is None or not start <= at <= question.end:
                continue
            if str(entry.get("service") or question.service) == question.service:
                deploys.append((at, self._evidence(entry, at, query, question.service)))
        if not deploys:
            words = f"nothing was deployed to {question.service} since {start.isoformat(timespec='seconds')}"
            return (self._nothing(query, "No deploys", words),)
        deploys.sort(key=lambda pair: pair[0])
        return tuple(evidence for _, evidence in deploys[-content.MAX_ITEMS :])

    def _nothing(
        self, query: str, title: str, summary: str, status: EvidenceStatus = EvidenceStatus.NO_DATA
    ) -> Evidence:
        return content.empty(EvidenceKind.CHANGE, self._name, query, title, summary, status)

    def _evidence(self, entry: Mapping[str, Any], at: datetime, query: str, service: str) -> Evidence:
        version, previous = _word(entry.get("version")), _word(entry.get("previous"))
        rollback = bool(entry.get("rollback_of"))
        title = f"{service} {'rolled back to' if rollback else 'release'} {version or 'without a version'}"
        author, message = _word(entry.get("author")), content.line(str(entry.get("message") or ""))
        before = f" after {previous}" if previous else ""
        summary = f"{version or 'a release'}{before} deployed{f' by {author}' if author else ''}"
        diff = entry.get("diff")
        lines = diff if isinstance(diff, list) else str(diff or "").splitlines()
        return content.identify(
            Evidence(
                "",
                EvidenceKind.CHANGE,
                self._name,
                query,
                EvidenceStatus.OK,
                title,
                f"{summary}: {message}" if message else summary,
                at=at,
                lines=tuple(content.line(str(text)) for text in lines[: content.MAX_LINES]),
                link=content.fill(self._config.link, id=_word(entry.get("id")), version=version),
                version=version,
                previous=previous,
            )
        )


def _word(value: object) -> str:
    return content.line(str(value))[:80] if isinstance(value, str | int | float) else ""


def build(name: str, config: ChangesConfig, surroundings: Surroundings) -> ChangesSource:
    """The evidence source of one section."""
    return ChangesSource(name, config)
