"""Everything that can be configured, with its meaning, unit and default.

In: YAML, read by `load`. Out: frozen settings; adapter sections stay dictionaries until wiring validates them.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.config.policy import Policy
from shared.config.section import YEAR_S, Seconds
from shared.config.section import Section as Section
from shared.model.limits import QUEUE_AGE_S, TIMER_LATE_S
from shared.model.pipeline import Queue
from shared.model.signal import Severity

_BASE_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
Days = Annotated[float, Field(ge=0, le=36_600)]
AdapterSection = dict[str, Any]


class Portal(Section):
    """The pages people open."""

    base_url: str = Field(description="Address people reach the portal at; links in cards and tickets start with it.")
    anonymous_read: bool = Field(
        default=False, description="Let anybody who reaches the portal read it. Deciding always needs a sign-in."
    )
    keys: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Keys for senders, by source name. The key `default` opens every source and the JSON interface.",
    )
    session_secret: SecretStr = Field(description="Signs session cookies and CSRF tokens; at least 32 characters.")
    session_hours: float = Field(default=12, gt=0, le=168, description="How long a sign-in lasts, in hours.")

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not _BASE_URL.fullmatch(url):
            raise ValueError("an address such as https://argus.your-company.example was expected")
        return url


class PersonEntry(Section):
    """A person known to the development sign-in."""

    name: str = Field(description="Name to show.")
    groups: list[str] = Field(default_factory=list, description="Groups the person belongs to.")


class Service(Section):
    """A service ARGUS looks after."""

    environment: str = Field(default="production", description="Environment, such as `production`.")
    owner: str = Field(default="", description="Team that owns the service.")
    resources: list[str] = Field(
        default_factory=list,
        description="Names and ARM ids that alerts use for this service; matched case-insensitively as whole name, "
        "as whole ARM id, or as the last part of one.",
    )
    assignment_group: str = Field(default="", description="Ticket group.")


class ThresholdRule(Section):
    """Fire when a metric crosses a line for a while."""

    kind: Literal["threshold"] = Field(description="Says that this is a threshold rule.")
    metric: str = Field(description="Metric name of the samples.")
    service: str = Field(default="", description="Only samples of this service; empty for every service.")
    above: float | None = Field(default=None, description="Fire above this value.")
    below: float | None = Field(default=None, description="Fire below this value.")
    for_s: Seconds = Field(default=0, description="How long it must last before it fires, in seconds.")
    resolve_s: Seconds = Field(default=0, description="How long it must be well before it resolves, in seconds.")
    severity: Severity = Field(default=Severity.SEV2, description="Severity of the alert.")
    summary: str = Field(default="", description="One sentence for people.")

    @model_validator(mode="after")
    def _one_line(self) -> ThresholdRule:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below, one of the two")
        return self


class BurnRateRule(Section):
    """Fire when the error budget burns too fast in a long and a short window (Google SRE Workbook, ch. 5)."""

    kind: Literal["burn_rate"] = Field(description="Says that this is a burn rate rule.")
    errors: str = Field(description="Metric name of failed requests, a growing counter.")
    total: str = Field(description="Metric name of all requests, a growing counter.")
    service: str = Field(default="", description="Only samples of this service; empty for every service.")
    objective: float = Field(gt=0, lt=1, description="Target ratio of good requests, such as 0.999.")
    long_window_s: Seconds = Field(gt=0, description="Long window, in seconds.")
    short_window_s: Seconds = Field(gt=0, description="Short window, in seconds.")
    burn: float = Field(gt=0, description="Fire when the budget burns at least this many times too fast in both.")
    min_requests: int = Field(default=10, ge=1, description="Fewer requests in the long window judge nothing.")
    severity: Severity = Field(default=Severity.SEV2, description="Severity of the alert.")
    summary: str = Field(default="", description="One sentence for people.")

    @model_validator(mode="after")
    def _windows(self) -> BurnRateRule:
        if self.short_window_s >= self.long_window_s:
            raise ValueError("short_window_s must be less than long_window_s")
        return self


Rule = Annotated[ThresholdRule | BurnRateRule, Field(discriminator="kind")]


class Maintenance(Section):
    """A planned window in which alerts open no incident."""

    service: str = Field(description="Service in maintenance; `*` for all.")
    start: str = Field(description="Beginning, ISO 8601 with zone.")
    end: str = Field(description="End, ISO 8601 with zone.")
    reason: str = Field(default="", description="Why, for people.")

    @field_validator("start", "end")
    @classmethod
    def _moment(cls, text: str) -> str:
        try:
            zone = datetime.fromisoformat(text).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise ValueError("a time with its zone was expected, such as 2026-01-31T23:30:00+01:00")
        return text

    @model_validator(mode="after")
    def _forward(self) -> Maintenance:
        if datetime.fromisoformat(self.start) >= datetime.fromisoformat(self.end):
            raise ValueError("end must be later than start")
        return self


class Routing(Section):
    """How alerts become incidents."""

    group_by: list[str] = Field(
        default_factory=lambda: ["service", "environment"],
        description="Alerts alike in these become one incident: `service`, `environment`, `name`, `resource`, `source` "
        "or any label. Empty: everything becomes one incident.",
    )
    incident_severities: list[Severity] = Field(
        default_factory=lambda: [Severity.SEV0, Severity.SEV1, Severity.SEV2, Severity.SEV3],
        description="Severities that open an incident; others are listed.",
    )
    maintenance: list[Maintenance] = Field(default_factory=list, description="Planned windows.")


class Notify(Section):
    """Who is told of what."""

    channels: list[str] = Field(default_factory=list, description="Channels that hear of every incident.")
    approvals: list[str] = Field(default_factory=list, description="Channels for approval cards; empty: `channels`.")
    fallback: list[str] = Field(
        default_factory=list,
        description="Channels that get a card when all it is for cannot be reached; empty: every other channel.",
    )
    fallback_after_s: Seconds = Field(
        default=300, description="How long all channels of a card must be away before that, in seconds."
    )


class Approvals(Section):
    """Who decides, and for how long the question stands."""

    group: str = Field(default="oncall", description="Group whose members may decide.")
    needed: int = Field(default=1, ge=1, le=5, description="How many approvals it takes.")
    expires_s: Seconds = Field(default=3600, gt=0, description="After this silence it expires, in seconds.")
    poll_s: float = Field(
        default=60, ge=1, le=YEAR_S, description="The wait reads the store at least this often, in seconds."
    )


class Execution(Section):
    """Guardrails of the executor."""

    kill_switch: bool = Field(default=False, description="Nothing is executed while this is true.")
    cooldown_s: Seconds = Field(default=300, description="Rest between two actions on one target, in seconds.")
    max_attempts: int = Field(default=2, ge=1, description="Actions on one target within `attempt_window_s`.")
    attempt_window_s: Seconds = Field(default=3600, gt=0, description="Window of `max_attempts`, in seconds.")
    lease_s: Seconds = Field(
        default=660,
        gt=0,
        description="How long a target is held by one action, in seconds; at least `host.function_timeout_s` + 60.",
    )


class Closing(Section):
    """When an incident is over."""

    recovery_s: Seconds = Field(default=600, gt=0, description="All readings must be good this long, in seconds.")
    check_every_s: Seconds = Field(default=60, gt=0, description="Time between readings, in seconds.")
    stale_s: Seconds = Field(default=300, gt=0, description="A reading older than this is unknown, in seconds.")
    give_up_s: Seconds = Field(
        default=86_400, gt=0, description="Re-measuring ends after this and a person is told, in seconds."
    )
    look_again_s: Seconds = Field(
        default=300, description="Readings still bad this long after an action start a new investigation, in seconds."
    )
    settle_s: float = Field(
        default=20, ge=20, le=YEAR_S, description="Rest before the group is free again (rule C1), in seconds."
    )


class Investigation(Section):
    """How the cause is looked for."""

    baseline_s: Seconds = Field(
        default=3600, gt=0, description="How far before the onset the evidence begins, in seconds."
    )
    timeout_s: Seconds = Field(
        default=20, gt=0, description="A source that is later than this is left out, in seconds."
    )
    parallel: int = Field(default=8, ge=1, le=32, description="Sources asked at once.")


class KnowledgeSettings(Section):
    """Where documents come from and go."""

    runbooks: str = Field(default="runbooks", description="Folder of runbooks, relative to the application.")
    learned: str = Field(default="", description="Folder of a Git repository with learned runbooks; read as well.")
    publish_to: list[str] = Field(default_factory=list, description="Destinations, by name.")
    min_score: float = Field(default=0.15, ge=0, le=1, description="A runbook that matches less is not offered.")


class Host(Section):
    """What the hosting platform promises."""

    function_timeout_s: Seconds = Field(default=600, gt=0, description="Function time-out of host.json, in seconds.")
    retry_hours: float = Field(
        default=24, gt=0, description="Attempts end in quarantine after this (rule H10), in hours."
    )
    at_once: int = Field(
        default=4,
        ge=0,
        le=64,
        description="So many invocations of a process may do at once what they would send to another queue of the same "
        "agent (rule H7), which makes quiet times cheap; 0 sends everything.",
    )


class StoreSettings(Section):
    """Where rows are kept."""

    kind: str = Field(default="sqlite", description="Registered store.")
    settings: AdapterSection = Field(default_factory=dict, description="The store's own settings.")
    kinds: dict[str, AdapterSection] = Field(
        default_factory=dict,
        description="In place of `settings`, by kind, when the environment chooses the kind; the chosen one's count.",
    )


class Retention(Section):
    """How long things are kept. In days; 0 is for ever. `python -m argus purge` and a daily timer go by it."""

    working_rows_days: Days = Field(
        default=7, description="What keeps a closed incident from working an event off twice; older events are refused."
    )
    payloads_days: Days = Field(
        default=30, description="Raw bodies, unless something open, held or quarantined refers to them."
    )
    quarantine_days: Days = Field(default=30, description="Quarantined events that were replayed or dropped.")
    counters_days: Days = Field(default=30, description="Repeat counts of processes that ended.")
    alerts_days: Days = Field(default=90, description="Lines of the alert list.")
    windows_days: Days = Field(default=30, description="Samples of series that nobody measures any more.")
    tombstones_days: Days = Field(default=7, description="Members of closed groups, and resolves without a firing.")
    history_days: Days = Field(default=30, description="Histories of Durable waits that ended.")
    closed_incidents_days: Days = Field(
        default=0,
        description="Closed incidents with timeline, audit and evidence. A stub, the approvals and what the system "
        "chain says of the removal stay.",
    )

    @field_validator("*")
    @classmethod
    def _for_ever_or_long_enough(cls, days: float) -> float:
        if 0 < days < 2:
            raise ValueError("0 (for ever) or at least 2 days was expected")
        return days


class Otlp(Section):
    """OpenTelemetry over HTTP, to a collector or a product that speaks it."""

    endpoint: str = Field(default="", description="Base address, such as `http://127.0.0.1:4318`; empty sends nothing.")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="Headers such as an API key.")


class AzureMonitor(Section):
    """Application Insights."""

    connection_string: SecretStr = Field(
        default=SecretStr(""), description="Of the Application Insights resource; empty sends nothing."
    )


class TelemetrySettings(Section):
    """What ARGUS tells of its own work: one trace per incident, metrics of every hop, log lines."""

    service_name: str = Field(default="argus", description="`service.name` of every span and metric.")
    logs: Literal["json", "text"] = Field(default="json", description="How log lines are written.")
    metrics_every_s: float = Field(default=30, ge=1, le=3600, description="Time between two exports, in seconds.")
    otlp: Otlp = Field(default_factory=Otlp, description="OpenTelemetry over HTTP; off without an endpoint.")
    azure_monitor: AzureMonitor = Field(
        default_factory=AzureMonitor, description="Azure Monitor; off without a connection string."
    )


class SelfMonitoring(Section):
    """How ARGUS watches itself; names of timers are those `python -m argus status` shows."""

    enabled: bool = Field(default=True, description="Raise signals about ARGUS itself, and tell people.")
    failures: int = Field(default=3, ge=1, le=100, description="Failures in a row that are worth a signal.")
    channels: list[str] = Field(
        default_factory=list, description="Told directly when store or bus are what is broken; empty: as in `notify`."
    )
    repeat_s: float = Field(default=3600, ge=60, le=YEAR_S, description="What lasts is said again, in seconds.")
    slow_s: Seconds = Field(default=2, gt=0, description="A store that answers later counts as failing, in seconds.")
    late_s: dict[str, Seconds] = Field(
        default_factory=dict,
        description="A timer is late after this, in seconds, by its name; "
        f"else {', '.join(f'{name} {value:g}' for name, value in TIMER_LATE_S.items())}.",
    )
    queue_age_s: dict[Queue, Seconds] = Field(
        default_factory=dict,
        description="A queue with an older message is stuck, in seconds, by its name; "
        f"else {', '.join(f'{name} {value:g}' for name, value in QUEUE_AGE_S.items())}.",
    )
    held_age_s: Seconds = Field(default=86_400, gt=0, description="An event held for longer is told, in seconds.")
    remind_before_s: Seconds = Field(
        default=600, description="Approvals without a vote are reminded of before the deadline, in seconds."
    )

    def late_after_s(self) -> dict[str, float]:
        """When each known timer is late, in seconds since its last run."""
        return {**TIMER_LATE_S, **self.late_s}

    def oldest_s(self) -> dict[Queue, float]:
        """How old the oldest message of each queue may be, in seconds; the quarantine waits for people."""
        return {**QUEUE_AGE_S, **self.queue_age_s}


class Settings(Section):
    """The whole configuration."""

    version: Literal[1] = Field(description="Version of this format.")
    tenant: Literal["default"] = Field(default="default", description="There is one tenant.")
    portal: Portal = Field(description="The pages people open.")
    people: dict[str, PersonEntry] = Field(default_factory=dict, description="People of the development sign-in.")
    services: dict[str, Service] = Field(default_factory=dict, description="Services, by name.")
    sources: dict[str, AdapterSection] = Field(
        default_factory=dict, description="Webhook sources, by name; the name is the last part of their address."
    )
    pollers: dict[str, AdapterSection] = Field(default_factory=dict, description="Targets asked on a timer, by name.")
    rules: dict[str, Rule] = Field(default_factory=dict, description="Rules over samples, by id.")
    routing: Routing = Field(default_factory=Routing, description="How alerts become incidents.")
    channels: dict[str, AdapterSection] = Field(default_factory=dict, description="Notification channels, by name.")
    notify: Notify = Field(default_factory=Notify, description="Who is told of what.")
    ticketing: dict[str, AdapterSection] = Field(default_factory=dict, description="Ticket systems, by name.")
    knowledge: KnowledgeSettings = Field(
        default_factory=KnowledgeSettings, description="Where documents come from and go."
    )
    destinations: dict[str, AdapterSection] = Field(default_factory=dict, description="Where documents go, by name.")
    evidence: dict[str, AdapterSection] = Field(default_factory=dict, description="Evidence sources, by name.")
    investigation: Investigation = Field(default_factory=Investigation, description="How the cause is looked for.")
    actions: dict[str, AdapterSection] = Field(default_factory=dict, description="Actions, by name.")
    approvals: Approvals = Field(
        default_factory=Approvals, description="Who decides, and for how long the question stands."
    )
    execution: Execution = Field(default_factory=Execution, description="Guardrails of the executor.")
    closing: Closing = Field(default_factory=Closing, description="When an incident is over.")
    policy: Policy = Field(default_factory=Policy, description="What the conductor lets through.")
    retention: Retention = Field(default_factory=Retention, description="How long things are kept.")
    host: Host = Field(default_factory=Host, description="What the hosting platform promises.")
    store: StoreSettings = Field(default_factory=StoreSettings, description="Where rows are kept.")
    telemetry: TelemetrySettings = Field(
        default_factory=TelemetrySettings, description="What ARGUS tells of its own work."
    )
    self_monitoring: SelfMonitoring = Field(default_factory=SelfMonitoring, description="How ARGUS watches itself.")
