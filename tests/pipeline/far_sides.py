"""The outside as it really behaves: it takes effects, tells repeats by key where it can, and remembers everything.

In: calls of the ports. Out: what a person would find there afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.model.action import ActionRequest
from shared.model.document import DocumentDraft
from shared.model.errors import PermanentError, TransientError
from shared.model.notice import Notice
from shared.model.ticket import Ticket, TicketDraft
from shared.ports.action import Settled
from shared.ports.knowledge import Published
from tests.pipeline.faults import Points


@dataclass
class Outside:
    """What all far sides share.

    Attributes:
        failures: what the next effects end in; ``TransientError(sent=None)`` happens after the effect.
    """

    points: Points
    failures: list[PermanentError | TransientError] = field(default_factory=list)

    def refuse(self) -> None:
        if self.failures and getattr(self.failures[0], "sent", False) is False:
            raise self.failures.pop(0)

    def lose_answer(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


@dataclass
class Chat(Outside):
    """A channel that cannot tell repeats, like a Teams webhook."""

    posts: list[tuple[str, Notice, bool]] = field(default_factory=list)

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        self.refuse()
        with self.points.step("post"):
            self.posts.append((key, notice, repeat))
        self.lose_answer()
        return "posted"

    def said(self) -> list[tuple[str, str]]:
        """Kind and title of every post that does not call itself a possible repeat."""
        return [(str(notice.kind), notice.title) for _, notice, repeat in self.posts if not repeat]

    def twice(self) -> list[str]:
        """Keys that were posted twice without saying so."""
        plain = Counter(key for key, _, repeat in self.posts if not repeat)
        return [key for key, times in plain.items() if times > 1]


@dataclass
class Desk(Outside):
    """A ticket system that finds tickets by correlation id, and notes by their marker when it is asked to look."""

    tickets: dict[str, Ticket] = field(default_factory=dict)
    drafts: dict[str, TicketDraft] = field(default_factory=dict)
    notes: list[tuple[str, str]] = field(default_factory=list)
    state: dict[str, str] = field(default_factory=dict)

    def open(self, draft: TicketDraft) -> Ticket:
        self.refuse()
        known = self.tickets.get(draft.correlation_id)
        if known is not None:
            return known
        number = f"INC{len(self.tickets) + 1:07d}"
        with self.points.step("open ticket"):
            ticket = Ticket("desk", f"key-{number}", number, f"https://desk.example/{number}")
            self.tickets[draft.correlation_id], self.drafts[draft.correlation_id] = ticket, draft
            self.state[ticket.key] = "open"
        self.lose_answer()
        return ticket

    def note(self, ticket: Ticket, text: str, marker: str, repeat: bool) -> None:
        self.refuse()
        if repeat and any(known == marker for known, _ in self.notes):
            return
        with self.points.step("note"):
            self.notes.append((marker, text))
        self.lose_answer()

    def resolve(self, ticket: Ticket, text: str, marker: str) -> None:
        self._turn(ticket, "resolved", text, marker)

    def reopen(self, ticket: Ticket, text: str, marker: str) -> None:
        self._turn(ticket, "open", text, marker)

    def _turn(self, ticket: Ticket, state: str, text: str, marker: str) -> None:
        self.refuse()
        if self.state[ticket.key] != state:
            with self.points.step(f"ticket {state}"):
                self.state[ticket.key] = state
                self.notes.append((marker, text))
        self.lose_answer()

    def twice(self) -> list[str]:
        """Markers that were noted twice."""
        return [marker for marker, times in Counter(marker for marker, _ in self.notes).items() if times > 1]


@dataclass
class Wiki(Outside):
    """Pages by id; the same text again changes nothing."""

    pages: dict[str, DocumentDraft] = field(default_factory=dict)
    changes: int = 0

    def publish(self, draft: DocumentDraft) -> Published:
        self.refuse()
        changed = self.pages.get(draft.id) != draft
        if changed:
            with self.points.step("publish"):
                self.pages[draft.id] = draft
                self.changes += 1
        self.lose_answer()
        return Published(f"https://wiki.example/{draft.id}", changed)


@dataclass
class Workload(Outside):
    """Something that runs a version and can be rolled back; it remembers the keys of what it did.

    Attributes:
        forgetful: asked later, it cannot tell whether a request was done.
        runs: keys of every run, repeats too.
    """

    version: str = "2.4.1"
    forgetful: bool = False
    refusal: str = ""
    runs: list[str] = field(default_factory=list)

    def facts(self, target: str) -> Mapping[str, str]:
        return {"version": self.version}

    def allowed(self, request: ActionRequest) -> str:
        return self.refusal

    def run(self, request: ActionRequest) -> str:
        self.refuse()
        with self.points.step("run action"):
            self.runs.append(request.key)
            self.version = request.parameters.get("to", self.version)
        self.lose_answer()
        return f"version {self.version} runs"

    def settle(self, request: ActionRequest) -> Settled:
        if self.forgetful:
            return Settled.UNKNOWN
        return Settled.DONE if request.key in self.runs else Settled.NOT_DONE
