"""Stand-ins for the outside that record what they were asked, and fail when told to.

In: what a test wants to happen. Out: ports a micro-agent can be given, and what went through them.

Every fake has ``failures``: errors that its next calls raise, one each, before anything is recorded.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.config.schema import Settings
from shared.model import codec
from shared.model.action import ActionRequest
from shared.model.diagnosis import Evidence
from shared.model.document import DocumentDraft
from shared.model.event import Event
from shared.model.notice import Notice
from shared.model.pipeline import Queue
from shared.model.runbook import Runbook
from shared.model.ticket import Ticket, TicketDraft
from shared.ports import Ports
from shared.ports.action import Settled
from shared.ports.bus import Message
from shared.ports.evidence import Question
from shared.ports.knowledge import Published
from shared.ports.store import Store


@dataclass
class Faulty:
    """What all fakes share: errors to raise, in order."""

    failures: list[Exception] = field(default_factory=list)

    def fail_if_told(self) -> None:
        """Raise the next error, if there is one."""
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class FakeBus(Faulty):
    """Keeps every message per queue, repeats too; ``delivered`` shows what duplicate detection would let through."""

    sent: defaultdict[Queue, list[Message]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """See the port."""
        self.fail_if_told()
        with self.lock:
            self.sent[queue].extend(messages)

    def events(self, queue: Queue) -> list[Event]:
        """What was sent to a queue, decoded, repeats included."""
        return [codec.decode_event(message.body) for message in self.sent[queue]]

    def delivered(self, queue: Queue) -> list[Event]:
        """The same, without messages whose id was sent before (rule M3)."""
        first = {message.message_id: message for message in reversed(self.sent[queue])}
        return [codec.decode_event(m.body) for m in self.sent[queue] if first[m.message_id] is m]


@dataclass
class FakeWaits(Faulty):
    """Remembers which waits were started, woken and cancelled."""

    started: list[str] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    cancelled: dict[str, str] = field(default_factory=dict)

    def start(self, approval_id: str, after: timedelta = timedelta(0)) -> None:
        """See the port."""
        self.fail_if_told()
        self.started.append(approval_id)

    def wake(self, approval_id: str, decided: bool = False) -> None:
        """See the port."""
        self.fail_if_told()
        self.woken.append(approval_id)

    def cancel(self, approval_id: str, reason: str) -> None:
        """See the port."""
        self.fail_if_told()
        self.cancelled[approval_id] = reason


@dataclass
class FakeInvestigator(Faulty):
    """Answers every question with the same evidence."""

    evidence: tuple[Evidence, ...] = ()
    questions: list[Question] = field(default_factory=list)

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """See the port."""
        self.fail_if_told()
        self.questions.append(question)
        return self.evidence


@dataclass
class FakeChannel(Faulty):
    """Keeps notices with their key and whether they were said to be a possible repeat."""

    sent: list[tuple[Notice, str, bool]] = field(default_factory=list)

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        """See the port."""
        self.fail_if_told()
        self.sent.append((notice, key, repeat))
        return "delivered"

    @property
    def notices(self) -> list[Notice]:
        """The notices alone, in order."""
        return [notice for notice, _, _ in self.sent]


@dataclass
class FakeTicketing(Faulty):
    """Opens one ticket per correlation id; notes are kept by marker, states by ticket key."""

    system: str = "fake"
    tickets: dict[str, Ticket] = field(default_factory=dict)
    drafts: list[TicketDraft] = field(default_factory=list)
    notes: list[tuple[str, str, str, bool]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)

    def open(self, draft: TicketDraft) -> Ticket:
        """See the port."""
        self.fail_if_told()
        self.drafts.append(draft)
        number = f"INC{len(self.tickets) + 1:07d}"
        ticket = Ticket(self.system, f"key-{number}", number, f"https://tickets.example/{number}")
        return self.tickets.setdefault(draft.correlation_id, ticket)

    def note(self, ticket: Ticket, text: str, marker: str, repeat: bool) -> None:
        """See the port."""
        self.fail_if_told()
        if repeat and any(key == ticket.key and known == marker for key, _, known, _ in self.notes):
            return
        self.notes.append((ticket.key, text, marker, repeat))

    def resolve(self, ticket: Ticket, text: str, marker: str) -> None:
        """See the port."""
        self.fail_if_told()
        self.states[ticket.key] = "resolved"
        self.notes.append((ticket.key, text, marker, False))

    def reopen(self, ticket: Ticket, text: str, marker: str) -> None:
        """See the port."""
        self.fail_if_told()
        self.states[ticket.key] = "open"
        self.notes.append((ticket.key, text, marker, False))


@dataclass
class FakeLibrary(Faulty):
    """Holds the runbooks a test gives it."""

    held: tuple[Runbook, ...] = ()

    def runbooks(self) -> tuple[Runbook, ...]:
        """See the port."""
        self.fail_if_told()
        return self.held


@dataclass
class FakeKnowledge(Faulty):
    """Keeps the newest draft per id; the same one again changes nothing."""

    pages: dict[str, DocumentDraft] = field(default_factory=dict)
    published: list[DocumentDraft] = field(default_factory=list)

    def publish(self, draft: DocumentDraft) -> Published:
        """See the port."""
        self.fail_if_told()
        changed = self.pages.get(draft.id) != draft
        self.pages[draft.id] = draft
        self.published.append(draft)
        return Published(f"https://pages.example/{draft.id}", changed)


@dataclass
class FakeAction(Faulty):
    """Runs nothing but remembers the requests; a test sets the facts and how a settlement ends.

    Attributes:
        refusal: why every request is refused; empty when all are allowed.
        settled: answer of ``settle``; ``None`` means it looks at what was run.
    """

    live: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    settled: Settled | None = None
    answer: str = "done"
    ran: list[ActionRequest] = field(default_factory=list)

    def facts(self, target: str) -> Mapping[str, str]:
        """See the port."""
        return dict(self.live)

    def allowed(self, request: ActionRequest) -> str:
        """See the port."""
        return self.refusal

    def run(self, request: ActionRequest) -> str:
        """See the port."""
        self.fail_if_told()
        self.ran.append(request)
        return self.answer

    def settle(self, request: ActionRequest) -> Settled:
        """See the port."""
        if self.settled is not None:
            return self.settled
        return Settled.DONE if any(known.key == request.key for known in self.ran) else Settled.NOT_DONE


def settings(**overrides: Any) -> Settings:
    """The smallest valid settings, with whole sections replaced.

    Args:
        overrides: sections by name, as they would stand in YAML: ``rules={"slow": {...}}``.
    """
    sections: dict[str, Any] = {
        "version": 1,
        "portal": {"base_url": "http://127.0.0.1:7071", "session_secret": "only-for-tests-0123456789abcdef0123"},
        "services": {"shop": {"environment": "production", "assignment_group": "shop-team"}},
        **overrides,
    }
    return Settings.model_validate(sections)


def ports(store: Store, chosen: Settings | None = None, **overrides: Any) -> Ports:
    """Ports of fakes around a store: channel ``chat``, ticket system ``desk``, destination ``wiki``, action ``undo``.

    Args:
        overrides: fields of `Ports` to replace.
    """
    fields: dict[str, Any] = {
        "settings": chosen or settings(),
        "store": store,
        "bus": FakeBus(),
        "waits": FakeWaits(),
        "investigator": FakeInvestigator(),
        "library": FakeLibrary(),
        "sources": {},
        "pollers": {},
        "channels": {"chat": FakeChannel()},
        "ticketing": {"desk": FakeTicketing()},
        "destinations": {"wiki": FakeKnowledge()},
        "actions": {"undo": FakeAction()},
        **overrides,
    }
    return Ports(**fields)


def ids(events: Iterable[Event]) -> list[str]:
    """Event ids, in order."""
    return [event.id for event in events]
