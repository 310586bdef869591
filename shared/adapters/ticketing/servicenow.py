"""ServiceNow incidents through pysnow, which is only the transport.

In: drafts and notes. Out: one incident per correlation id, each note once, states read back after they are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.model.signal import Severity
from shared.model.ticket import Ticket, TicketDraft

SYSTEM = "ServiceNow"
CONNECT_S = 3.05  # just above a TCP retransmission, as the requests documentation advises
MAX_TITLE_CHARS = 160  # incident.short_description; longer text is cut silently by the instance
MAX_TEXT_CHARS = 16_000
IN_PROGRESS, RESOLVED, CLOSED, CANCELED = "2", "6", "7", "8"  # incident.state, out of the box

# Impact and urgency; priority is computed from them and a priority that is written is overwritten.
_LEVELS = {
    Severity.SEV0: ("1", "1"),
    Severity.SEV1: ("1", "2"),
    Severity.SEV2: ("2", "2"),
    Severity.SEV3: ("2", "3"),
    Severity.SEV4: ("3", "3"),
}
_SAFE = re.compile(r"[A-Za-z0-9._:-]{1,100}")  # pysnow passes ^ through, so anything else could widen a query
_SYS_ID = re.compile(r"[0-9a-f]{32}")
_CODE_TAG = re.compile(r"\[(?=/?code\])", re.IGNORECASE)

Record = dict[str, Any]


class ServiceNowConfig(Section):
    """One ServiceNow instance."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(description="Address of the instance, such as `https://example.service-now.com`.")
    user: str = Field(default="", description="User for basic authentication; empty when `token` is set.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of `user`.")
    token: SecretStr = Field(default=SecretStr(""), description="OAuth access token, sent as a bearer.")
    caller_id: str = Field(default="", description="sys_id of the caller of new incidents.")
    assignment_group: str = Field(
        default="", description="sys_id of the group of new incidents, unless the service names one of its own."
    )
    category: str = Field(default="", description="Category of new incidents, as the instance spells it.")
    close_code: str = Field(default="Solution provided", description="Resolution code, as the instance spells it.")
    ticket_url: str = Field(
        default="", description="Address of a ticket for people, with `{sys_id}` and `{number}`; empty: the record."
    )
    timeout_s: float = Field(default=10, gt=0, le=10, description="Longest wait for an answer, in seconds.")

    @model_validator(mode="after")
    def _usable(self) -> ServiceNowConfig:
        problem = http.address_problem(self.url)
        if problem:
            raise ValueError(problem)
        if bool(self.token.get_secret_value()) == bool(self.user and self.password.get_secret_value()):
            raise ValueError("give either token, or user and password")
        for name in ("caller_id", "assignment_group"):
            value = getattr(self, name)
            if value and not _SYS_ID.fullmatch(value):
                raise ValueError(f"{name} must be a sys_id of 32 hex digits; names are dropped by the instance")
        return self


class ServiceNowTicketing:
    """Keeps incidents of one instance."""

    def __init__(self, name: str, config: ServiceNowConfig, groups: dict[str, str]) -> None:
        """Args:
        name: configured name, the ``system`` of the tickets.
        groups: assignment group by service; empty values do not count.
        """
        self._name = name
        self._config = config
        self._groups = groups

    def open(self, draft: TicketDraft) -> Ticket:
        """Find or open the incident; see the port `shared.ports.ticketing`."""
        correlation_id = _safe(draft.correlation_id, "correlation id")
        existing = self._find(correlation_id)
        if existing:
            return self._ticket(existing[0])
        created = _one(self._call("incident", lambda resource: resource.create(self._fields(draft))))
        try:
            return self._ticket(self._keep_oldest(correlation_id, created))
        except TransientError as failure:
            failure.sent = None  # whatever the last answer was, a ticket is open
            raise

    def note(self, ticket: Ticket, text: str, marker: str, repeat: bool) -> None:
        """Write a work note; see the port."""
        if repeat and self._noted(ticket, marker):
            return
        self._patch(ticket.key, {"work_notes": _marked(text, marker)})

    def resolve(self, ticket: Ticket, text: str, marker: str) -> None:
        """Resolve the incident; see the port. A closed or cancelled one is left as it is."""
        if self._state(ticket) in (RESOLVED, CLOSED, CANCELED):
            return
        fields = {"state": RESOLVED, "close_code": self._config.close_code, "close_notes": _marked(text, marker)}
        self._expect(self._patch(ticket.key, fields), (RESOLVED, CLOSED), ticket)

    def reopen(self, ticket: Ticket, text: str, marker: str) -> None:
        """Bring the incident back into work; see the port."""
        if self._state(ticket) in (RESOLVED, CLOSED, CANCELED):
            patched = self._patch(ticket.key, {"state": IN_PROGRESS, "work_notes": _marked(text, marker)})
            self._expect(patched, ("1", IN_PROGRESS, "3"), ticket)
        elif not self._noted(ticket, marker):
            self._patch(ticket.key, {"work_notes": _marked(text, marker)})

    def _fields(self, draft: TicketDraft) -> Record:
        impact, urgency = _LEVELS[draft.severity]
        description = f"{_inert(draft.description)}\n\n{draft.link}".strip()
        fields = {
            "short_description": " ".join(draft.title.split())[:MAX_TITLE_CHARS] or "(no title)",
            "description": description,
            "impact": impact,
            "urgency": urgency,
            "correlation_id": draft.correlation_id,
            "correlation_display": "ARGUS",
            "caller_id": self._config.caller_id,
            "category": self._config.category,
            "assignment_group": self._config.assignment_group,
        }
        group = self._groups.get(draft.service, "")
        if _SYS_ID.fullmatch(group):
            fields["assignment_group"] = group
        elif group:
            fields["description"] = f"{description}\n\nAssignment group: {group}"  # the instance would drop a name
        return {name: value for name, value in fields.items() if value}

    def _keep_oldest(self, correlation_id: str, created: Record) -> Record:
        """The ticket to go on with; ours is cancelled when somebody opened one at the same moment."""
        found = self._find(correlation_id)
        if not found:
            # The field is hidden from us by an ACL: every repeat would open one more ticket.
            number = str(created.get("number", ""))[:40]
            raise PermanentError(f"{SYSTEM} opened {number} but does not show its correlation_id", Reason.REFUSED)
        if found[0]["sys_id"] != created.get("sys_id"):
            note = f"Duplicate of {found[0].get('number')}, opened at the same moment."
            self._patch(str(created.get("sys_id")), {"state": CANCELED, "work_notes": note})
        return found[0]

    def _find(self, correlation_id: str) -> list[Record]:
        """Incidents of a correlation id, oldest first, at most two."""
        query = f"correlation_id={correlation_id}^ORDERBYsys_created_on^ORDERBYnumber"
        columns = ["sys_id", "number", "correlation_id"]
        rows = self._read("incident", query, 2, columns)
        # An instance ignores query terms it does not understand, and then answers with everybody's tickets.
        return [row for row in rows if row.get("correlation_id") == correlation_id and row.get("sys_id")]

    def _noted(self, ticket: Ticket, marker: str) -> bool:
        tag = _tag(marker)
        query = f"element_id={_sys_id(ticket.key)}^element=work_notes^valueLIKE{tag}"
        columns = ["element_id", "value"]
        rows = self._read("sys_journal_field", query, 5, columns)
        return any(row.get("element_id") == ticket.key and tag in str(row.get("value")) for row in rows)

    def _state(self, ticket: Ticket) -> str:
        query = f"sys_id={_sys_id(ticket.key)}"
        columns = ["sys_id", "state"]
        rows = self._read("incident", query, 1, columns)
        rows = [row for row in rows if row.get("sys_id") == ticket.key]
        if not rows:
            raise PermanentError(f"{SYSTEM} has no ticket {ticket.number}", Reason.NOT_FOUND)
        return str(rows[0].get("state", ""))

    def _expect(self, record: Record, states: Sequence[str], ticket: Ticket) -> None:
        state = str(record.get("state", ""))
        if state not in states:
            raise PermanentError(f"{SYSTEM} left {ticket.number} in state {state[:20]!r}", Reason.CONFLICT)

    def _patch(self, sys_id: str, fields: Record) -> Record:
        path, body = f"/{_sys_id(sys_id)}", json.dumps(fields)
        return _one(self._call("incident", lambda resource: resource.request("PATCH", path_append=path, data=body)))

    def _read(self, table: str, query: str, limit: int, columns: list[str]) -> list[Record]:
        try:
            return self._call(table, lambda resource: resource.get(query=query, limit=limit, fields=columns))
        except TransientError as failure:
            failure.sent = False  # reading changes nothing
            raise

    def _call(self, table: str, ask: Callable[[Any], Any]) -> list[Record]:
        """Ask one question of a new resource: pysnow's resources carry parameters over from call to call."""
        rows, failure = self._answer(table, ask)
        if failure is not None:
            raise failure
        return rows

    def _answer(self, table: str, ask: Callable[[Any], Any]) -> tuple[list[Record], ArgusError | None]:
        from pysnow.exceptions import PysnowException
        from requests import RequestException

        timeout = (min(CONNECT_S, self._config.timeout_s), self._config.timeout_s)
        resource = self._client.resource(api_path=f"/table/{table}", timeout=timeout)
        resource.parameters.exclude_reference_link = True
        try:
            rows = ask(resource).all()  # pysnow looks at the status only now
        except RequestException as cause:
            return [], http.broken_off(SYSTEM, cause)
        except (PysnowException, ValueError, TypeError, AttributeError):
            rows = None  # JSON of another shape, which pysnow does not expect
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            # A hibernating instance answers 200 with a page for people.
            return [], http.unreadable(SYSTEM)
        return rows, None

    def _ticket(self, record: Record) -> Ticket:
        sys_id, number = str(record["sys_id"]), str(record.get("number", ""))
        template = self._config.ticket_url
        if template:
            url = template.replace("{sys_id}", quote(sys_id, safe="")).replace("{number}", quote(number, safe=""))
        else:
            target = quote(f"incident.do?sys_id={sys_id}", safe="")
            url = f"{self._config.url.rstrip('/')}/nav_to.do?uri={target}"
        return Ticket(self._name, sys_id, number, url)

    @cached_property
    def _client(self) -> Any:
        import pysnow

        session = http.strict_session()  # a redirect leads to a sign-in page that answers 200
        token = self._config.token.get_secret_value()
        if token:
            session.auth = _Bearer(token)
        else:
            session.auth = (self._config.user, self._config.password.get_secret_value())
        parts = urlsplit(self._config.url)
        return pysnow.Client(
            host=f"{parts.netloc}{parts.path}".rstrip("/"), use_ssl=parts.scheme == "https", session=session
        )


class _Bearer:
    """Sets the header; as an auth object it also keeps requests from looking into ``.netrc``."""

    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = self._header
        return request


def _one(rows: list[Record]) -> Record:
    if len(rows) != 1:
        raise http.unreadable(SYSTEM)
    return rows[0]


def _safe(value: str, what: str) -> str:
    if not _SAFE.fullmatch(value):
        raise PermanentError(f"the {what} {value[:40]!r} may not stand in a query", Reason.BAD_INPUT)
    return value


def _sys_id(value: str) -> str:
    if not _SYS_ID.fullmatch(value):
        raise PermanentError(f"{value[:40]!r} is no sys_id", Reason.BAD_INPUT)
    return value


def _tag(marker: str) -> str:
    return f"[argus:{_safe(marker, 'marker')}]"


def _marked(text: str, marker: str) -> str:
    return f"{_inert(text)}\n\n{_tag(marker)}"


def _inert(text: str) -> str:
    """Cut, and without ``[code]``, inside which ServiceNow renders HTML."""
    return _CODE_TAG.sub("[ ", text[:MAX_TEXT_CHARS]).strip()


def build(name: str, config: ServiceNowConfig, surroundings: Surroundings) -> ServiceNowTicketing:
    """The ticket system of one section."""
    groups = {service: settings.assignment_group for service, settings in surroundings.services.items()}
    return ServiceNowTicketing(name, config, groups)
