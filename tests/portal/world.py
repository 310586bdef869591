"""A portal over a store with incidents in it, and people who visit it.

In: an empty store. Out: stories worth looking at, and requests as a browser would send them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from shared.adapters.identity.development import COOKIE, DevelopmentSignIn
from shared.model.action import ActionResult, ActionState
from shared.model.alert import Alert
from shared.model.approval import ApprovalRequest, Choice, Decision, Verdict, Vote
from shared.model.audit import GENESIS, AuditEntry, TimelineEntry
from shared.model.diagnosis import Diagnosis, Evidence, EvidenceKind, EvidenceStatus, Hypothesis, Point
from shared.model.document import Document, DocumentKind
from shared.model.incident import ApprovalSummary, Incident, Theme
from shared.model.lifecycle import State
from shared.model.recommendation import Option, Parameter, Plan, Recommendation
from shared.model.signal import Severity, Status
from shared.model.ticket import Ticket
from shared.portal import Portal, Request, Response
from shared.ports.store import Store, Table, Upsert
from shared.records import approvals, evidence, incidents, index
from shared.records.rows import pack
from tests import fakes

NOW = datetime(2026, 11, 20, 2, 13, 5, tzinfo=UTC)
KEY = "key-for-tests-only"
PEOPLE = {
    "maya": {"name": "Maya Ortiz", "groups": ["oncall"]},
    "liam": {"name": "Liam Chen", "groups": ["oncall", "shop-team"]},
    "ruth": {"name": "Ruth Adler", "groups": ["finance"]},
}
INCIDENT = "7d3c2a10-5b7e-5c11-9f57-2f6a0e9b1c01"


@dataclass
class Clock:
    """A clock a test sets."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Browser:
    """Keeps cookies and knows which forms the last page had."""

    portal: Portal
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1:7071"

    def get(self, address: str, **headers: str) -> Response:
        return self._send("GET", address, {}, headers)

    def post(self, address: str, form: dict[str, str] | None = None, **headers: str) -> Response:
        return self._send("POST", address, form or {}, headers)

    def api(self, address: str, body: bytes, **headers: str) -> Response:
        parts = urlsplit(address)
        given = {"host": self.host, "content-type": "application/json", **_named(headers)}
        query = dict(parse_qsl(parts.query))
        return self.portal.respond(Request("POST", parts.path, query, given, self.cookies, {}, body))

    def csrf(self, address: str = "/") -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(address).body.decode())
        return found[1] if found else ""

    def sign_in(self, user: str) -> Browser:
        answer = self.post("/signin", {"user": user, "next": "/"})
        assert answer.status == 303, answer.body.decode()
        return self

    def _send(self, method: str, address: str, form: dict[str, str], headers: dict[str, str]) -> Response:
        parts = urlsplit(address)
        given = {"host": self.host, **_named(headers)}
        query = dict(parse_qsl(parts.query))
        answer = self.portal.respond(Request(method, parts.path, query, given, dict(self.cookies), form))
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class World:
    """Everything a portal test touches."""

    store: Store
    bus: fakes.FakeBus
    clock: Clock
    portal: Portal

    def browser(self, user: str = "") -> Browser:
        browser = Browser(self.portal)
        return browser.sign_in(user) if user else browser


def world(store: Store, clock: Clock | None = None, **portal: Any) -> World:
    """A portal over a store; ``portal`` overrides settings of its section."""
    clock = clock or Clock()
    section = {
        "base_url": "http://127.0.0.1:7071",
        "session_secret": "only-for-tests-0123456789abcdef0123",
        "keys": {"default": KEY},
        **portal,
    }
    settings = fakes.settings(portal=section, people=PEOPLE)
    bus = fakes.FakeBus()
    door = DevelopmentSignIn(settings, "", clock)
    return World(store, bus, clock, Portal(fakes.ports(store, settings, bus=bus), door, door, clock))


def cookie_of(response: Response) -> str:
    """The session cookie an answer sets."""
    return next(cookie for cookie in response.cookies if cookie.startswith(COOKIE)).partition(";")[0].split("=", 1)[1]


def alert(**changes: Any) -> Alert:
    """A firing alert."""
    plain = Alert(
        fingerprint="shop-errors", name="ShopErrorBudgetBurn", service="shop", severity=Severity.SEV1,
        status=Status.FIRING, at=NOW - timedelta(minutes=3), starts_at=NOW - timedelta(minutes=9),
        source="azure_monitor", signal_id="s1", environment="production",
        summary="5xx ratio 31 % of requests in 5 min, objective 99.9 %", resource="shop", rule="shop_burn", value=0.31,
        unit="ratio", count=4, link="https://portal.azure.com/#alert",
    )  # fmt: skip
    return replace(plain, **changes)


def plan(**changes: Any) -> Plan:
    """Roll the shop back."""
    plain = Plan(
        incident_id=INCIDENT, runbook="rollback-release", title="Roll shop back to 1.4.1", action="deploy_hook",
        target="shop", parameters=(
            Parameter("version", "1.4.1", "evidence:change00000000001", False),
            Parameter("environment", "production", "config", True),
        ), preconditions={"version": "1.4.2", "healthy": "false"},
        blast_radius="All requests to shop; about 5 s of dropped connections while it restarts.", risk="low",
        rollback="Deploy 1.4.2 again with the same action.", proposed_at=NOW - timedelta(minutes=5),
        expires_at=NOW + timedelta(minutes=55), proposed_by="/agents/triage/recommender",
    )  # fmt: skip
    return replace(plain, **changes)


def ask(store: Store, proposal: Plan | None = None, **changes: Any) -> ApprovalRequest:
    """Put an approval request into the store."""
    proposal = proposal or plan()
    digest = approvals.plan_hash(proposal)
    request = ApprovalRequest(
        id=approvals.approval_id(proposal.incident_id, digest), incident_id=proposal.incident_id, plan=proposal,
        plan_hash=digest, group="oncall", needed=1, requested_at=NOW - timedelta(minutes=5),
        deadline=NOW + timedelta(minutes=42),
    )  # fmt: skip
    request = replace(request, **changes)
    assert approvals.create(store, request)
    return request


def incident(**changes: Any) -> Incident:
    """A plain open incident."""
    plain = Incident(
        id=INCIDENT, title="shop: error budget burns 14 times too fast", service="shop", severity=Severity.SEV1,
        state=State.OPEN, opened_at=NOW - timedelta(minutes=9), updated_at=NOW - timedelta(minutes=1), version=1,
        environment="production", summary="5xx ratio 31 % of requests, objective 99.9 %", source="azure_monitor",
        alerts=(alert(),), alert_count=1,
    )  # fmt: skip
    return replace(plain, **changes)


def keep(store: Store, held: Incident, history: tuple[tuple[str, str, str, str, str], ...] = ()) -> Incident:
    """Write an incident with its timeline, audit chain and list line.

    Args:
        history: agent, micro-agent, person, what, why of each entry.
    """
    head = GENESIS
    for number, (agent, micro_agent, person, what, why) in enumerate(history, start=1):
        at = held.opened_at + timedelta(seconds=20 * number)
        entry = incidents.seal(
            AuditEntry(held.id, number, at, agent, micro_agent, person, what, why, f"{number:064x}", head)
        )
        head = entry.hash
        line = TimelineEntry(number, at, agent, micro_agent, what, why, person, f"event-{number}")
        for row in (incidents.timeline_row(line), incidents.audit_row(entry)):
            store.write(Table.INCIDENTS, held.id, row)
    held = replace(held, entries=len(history), audit_head=head)
    store.write(Table.INCIDENTS, held.id, Upsert(incidents.INCIDENT, pack(held)))
    index.put_incident(store, held)
    return held


def _evidence(store: Store) -> list[str]:
    def value(i: int) -> float:
        return 0.004 + 0.002 * math.sin(i) if i < 23 else 0.31 + 0.05 * math.sin(i / 2)

    series = tuple(Point(NOW - timedelta(seconds=15 * (60 - i)), value(i)) for i in range(60))
    found = (
        Evidence(
            "", EvidenceKind.CHANGE, "shop_deploys", "GET /deploys?since=2026-11-20T01:04:05Z", EvidenceStatus.OK,
            "Release 1.4.2 of shop", "1.4.2 replaced 1.4.1 40 s before the errors began; it changes one constant.",
            at=NOW - timedelta(minutes=10), lines=(
                "--- shop/config.py", "+++ shop/config.py", "@@ -12,3 +12,3 @@", " POOL_SIZE = 8",
                "-PAYMENT_TIMEOUT_S = 2.0", "+PAYMENT_TIMEOUT_S = 0.02", " RETRIES = 1",
            ), link="https://git.example/shop/compare/1.4.1...1.4.2", version="1.4.2", previous="1.4.1",
        ),
        Evidence(
            "", EvidenceKind.METRIC, "shop_metrics", 'rate(http_requests_total{status=~"5.."}[1m])', EvidenceStatus.OK,
            "Ratio of failed requests", "Rose from 0.4 % to 31 % within a minute.", points=series, unit="ratio",
        ),
        Evidence(
            "", EvidenceKind.LOG, "shop_log", "level=error since 01:04", EvidenceStatus.OK, "New error in the log",
            "PaymentTimeout appears 412 times since the onset and never before.", at=NOW - timedelta(minutes=9),
            lines=(
                'ts=2026-11-20T02:04:11Z level=error msg="payment gave up" error=PaymentTimeout after_ms=20',
                'ts=2026-11-20T02:04:12Z level=error msg="payment gave up" error=PaymentTimeout after_ms=20',
            ),
        ),
        Evidence(
            "", EvidenceKind.METRIC, "warehouse", "cpu_percent", EvidenceStatus.NO_DATA, "CPU of shop",
            "The source has nothing for this window.",
        ),
    )  # fmt: skip
    return [evidence.put(store, INCIDENT, item) for item in found]


HISTORY = (
    ("sentinel", "incident_creator", "", "incident opened", "ShopErrorBudgetBurn fired with sev1 for shop"),
    ("sentinel", "notifier", "", "told teams", "a new incident is announced on every configured channel"),
    ("sentinel", "ticket_writer", "", "ticket INC0010042 opened", "every incident has a ticket"),
    ("sentinel", "incident_creator", "maya", "acknowledged by maya", "a person said so on the portal"),
    ("triage", "rca", "", "release 1.4.2 named as cause", "the release came 40 s before the onset; 3 evidence agree"),
    ("triage", "recommender", "", "rollback-release recommended", "matches release, errors, shop"),
    ("remediator", "solicitor", "", "approval asked of oncall", "deploy_hook changes a workload, a person decides"),
)


def story(store: Store) -> tuple[Incident, ApprovalRequest]:
    """An incident with everything, waiting for its approval."""
    change, metric, log, nothing = _evidence(store)
    request = ask(store, plan())
    diagnosis = Diagnosis(
        NOW - timedelta(minutes=6), NOW - timedelta(minutes=69), NOW - timedelta(minutes=6), (
            Hypothesis("release", "Release 1.4.2 of shop broke payments: it shortened the payment time-out to 20 ms.",
                       0.86, (change, metric, log), "1.4.2", "1.4.1"),
            Hypothesis("dependency", "The payment provider answers more slowly than before.", 0.09, (log,)),
        ), (change, metric, log, nothing), "One release fits.", NOW - timedelta(minutes=9, seconds=20),
    )  # fmt: skip
    held = incident(
        state=State.AWAITING_APPROVAL, version=7, acknowledged_by="maya", acknowledged_at=NOW - timedelta(minutes=7),
        assignee="maya", ticket=Ticket("servicenow", "abc", "INC0010042", "https://snow.example/INC0010042"),
        diagnosis=diagnosis, recommendation=Recommendation(
            NOW - timedelta(minutes=5), (
                Option("rollback-release", "Roll back a release", 0.81, "release, errors, shop",
                       "https://git.example/r", "low"),
                Option("restart-service", "Restart a service", 0.34, "errors", "", "medium"),
            ), "Roll shop back to 1.4.1, the version before the trouble.", request.id,
        ), approval=ApprovalSummary(
            request.id, request.plan_hash, request.plan.title, "deploy_hook", "shop", request.deadline
        ),
        theme=Theme("shop/release", 2, (), "deploy_hook", 2, 0),
        alerts=(alert(), alert(fingerprint="probe", name="ShopProbeDown", source="probe", severity=Severity.SEV2,
                               summary="GET /healthz answers 503", value=None, unit="", link="", count=1)),
        alert_count=2,
    )  # fmt: skip
    return keep(store, held, HISTORY), request


def crowd(store: Store) -> None:
    """More incidents and alerts, so that lists look like lists."""
    others = (
        ("1a", "checkout: latency above 800 ms for 10 min", "checkout", Severity.SEV2, State.INVESTIGATING, 31, ""),
        ("2b", "A very long title that somebody's monitoring system produced: DiskSpaceLow on "
               "/subscriptions/0000/resourceGroups/rg-prod/providers/Microsoft.Compute/virtualMachines/vm-prod-17",
         "search", Severity.SEV3, State.OPEN, 84, ""),
        ("3c", "payments: probe fails from every region", "payments", Severity.SEV0, State.VERIFYING, 14, "liam"),
        ("4d", "shop: error budget burns 9 times too fast", "shop", Severity.SEV1, State.CLOSED, 1500, "maya"),
        ("5e", "search: index is 40 min old", "search", Severity.SEV2, State.CLOSED, 4400, "liam"),
    )  # fmt: skip
    for digits, title, service, severity, state, age_min, by in others:
        held = incident(
            id=f"{digits * 4}-0000-5000-8000-{digits * 6}", title=title, service=service, severity=severity,
            state=state,
            opened_at=NOW - timedelta(minutes=age_min), acknowledged_by=by, alert_count=3,
            closed_at=NOW - timedelta(minutes=age_min - 20) if state is State.CLOSED else None,
            resolution="rolled back to 1.3.9" if state is State.CLOSED else "",
            documents=(Document("d", DocumentKind.REVIEW, "Review: shop, 19 November", "confluence",
                                "https://wiki.example/r/1"),) if state is State.CLOSED else (),
            actions=(ActionResult("none", "deploy_hook", "shop", ActionState.DONE, NOW, "deployed 1.3.9",
                                  {"version": "1.3.9"}),) if state is State.CLOSED else (),
        )  # fmt: skip
        keep(store, held, HISTORY[:2])
    lines = (
        (alert(), INCIDENT, "opened the incident for service=shop, environment=production"),
        (alert(fingerprint="quiet", name="CertificateExpiresIn30Days", severity=Severity.SEV4,
               summary="gateway.example", service="gateway", count=1, value=None, unit=""), "",
         "sev4 is listed and opens no incident"),
        (alert(fingerprint="odd", name="unrecognised body", severity=Severity.SEV4, service="", source="alertmanager",
               summary="no known shape; the raw body is kept", count=1, value=None, unit="", resource="", link=""), "",
         "no configured service; listed only"),
    )  # fmt: skip
    for held_alert, incident_id, why in lines:
        index.put_alert(store, index.AlertLine(held_alert, incident_id, why, held_alert.starts_at))


def settled(store: Store, request: ApprovalRequest, verdict: Verdict) -> None:
    """Write the decision of an approval."""
    by = ("liam",) if verdict in (Verdict.APPROVED, Verdict.REJECTED) else ("deadline",)
    assert approvals.decide(store, Decision(request.id, verdict, NOW, by, request.plan_hash, "as voted"))


def voted(store: Store, request: ApprovalRequest, user: str, choice: Choice = Choice.APPROVE) -> None:
    """Write a vote."""
    assert approvals.vote(store, request.id, Vote(user, choice, NOW, request.plan_hash))
