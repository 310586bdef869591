"""The host's ports with points around everything that lasts or reaches the outside.

In: the ports that wiring built. Out: the same ports; around each write, send and effect the host can be killed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.crash.points import Points
from shared.model.action import ActionRequest
from shared.model.document import DocumentDraft
from shared.model.notice import Notice
from shared.model.pipeline import Queue
from shared.model.ticket import Ticket, TicketDraft
from shared.ports.action import Action, Settled
from shared.ports.bus import Bus, Message
from shared.ports.channel import Channel
from shared.ports.knowledge import Knowledge, Published
from shared.ports.store import Delete, Operation, Page, Row, Store, Table
from shared.ports.ticketing import Ticketing
from shared.records import incidents

RAN = "ran"
_PREFIXED = (Table.INCIDENTS, Table.APPROVALS)
_doing = threading.local()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what this thread works on, so that its points can be told apart."""
    before = getattr(_doing, "what", "")
    _doing.what = what
    try:
        yield
    finally:
        _doing.what = before


def _what() -> str:
    return getattr(_doing, "what", "") or "page"


class WatchedStore:
    """A store; intents and commits are points of their own kind, other writes go by table and row."""

    def __init__(self, inner: Store, points: Points) -> None:
        self._inner = inner
        self._points = points

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        return self._inner.get(table, partition, key)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        return self._inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        return self._inner.partitions(table)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        with self._points.around(*_sort_of(table, (operation,)), partition):
            return self._inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        with self._points.around(*_sort_of(table, operations), partition):
            return self._inner.transact(table, partition, operations)

    def close(self) -> None:
        """Close what is below."""
        close = getattr(self._inner, "close", None)
        if close is not None:
            close()


def _sort_of(table: Table, operations: Sequence[Operation]) -> tuple[str, str]:
    """Kind and name of a write."""
    keys = [operation.key for operation in operations]
    if table is Table.INCIDENTS and any(key.startswith(incidents.INBOX) for key in keys):
        return "commit", _what()
    first = operations[0]
    if table is Table.INCIDENTS and first.key.startswith(incidents.INTENT):
        state = "" if isinstance(first, Delete) else str(first.values.get("state", ""))
        return "intent", f"{_what()}.{state}"
    row = first.key.partition("|")[0] if table in _PREFIXED else ""
    return "write", f"{table}.{row}" if row else str(table)


class WatchedBus:
    """A bus; the queue names the point."""

    def __init__(self, inner: Bus, points: Points) -> None:
        self._inner = inner
        self._points = points

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """See the port."""
        about = messages[0].message_id if messages else ""
        with self._points.around("send", str(queue), about):
            self._inner.send(queue, messages)


class WatchedChannel:
    """A channel."""

    def __init__(self, name: str, inner: Channel, points: Points) -> None:
        self._name, self._inner, self._points = name, inner, points

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        """See the port."""
        with self._points.around("effect", f"{self._name}.send", key):
            return self._inner.send(notice, key, repeat)


class WatchedTicketing:
    """A ticket system."""

    def __init__(self, name: str, inner: Ticketing, points: Points) -> None:
        self._name, self._inner, self._points = name, inner, points

    def open(self, draft: TicketDraft) -> Ticket:
        """See the port."""
        with self._points.around("effect", f"{self._name}.open", draft.correlation_id):
            return self._inner.open(draft)

    def note(self, ticket: Ticket, text: str, marker: str, repeat: bool) -> None:
        """See the port."""
        with self._points.around("effect", f"{self._name}.note", marker):
            self._inner.note(ticket, text, marker, repeat)

    def resolve(self, ticket: Ticket, text: str, marker: str) -> None:
        """See the port."""
        with self._points.around("effect", f"{self._name}.resolve", marker):
            self._inner.resolve(ticket, text, marker)

    def reopen(self, ticket: Ticket, text: str, marker: str) -> None:
        """See the port."""
        with self._points.around("effect", f"{self._name}.reopen", marker):
            self._inner.reopen(ticket, text, marker)


class WatchedDestination:
    """A place for documents."""

    def __init__(self, name: str, inner: Knowledge, points: Points) -> None:
        self._name, self._inner, self._points = name, inner, points

    def publish(self, draft: DocumentDraft) -> Published:
        """See the port."""
        with self._points.around("effect", f"{self._name}.publish", draft.id):
            return self._inner.publish(draft)


class WatchedAction:
    """An action; every run is noted, as far sides recognise a repeat and would hide it."""

    def __init__(self, name: str, inner: Action, points: Points) -> None:
        self._name, self._inner, self._points = name, inner, points

    def facts(self, target: str) -> Mapping[str, str]:
        """See the port."""
        return self._inner.facts(target)

    def allowed(self, request: ActionRequest) -> str:
        """See the port."""
        return self._inner.allowed(request)

    def run(self, request: ActionRequest) -> str:
        """See the port."""
        with self._points.around("effect", f"{self._name}.run", request.key):
            said = self._inner.run(request)
            self._points.note(RAN, key=request.key, incident=request.incident_id)
        return said

    def settle(self, request: ActionRequest) -> Settled:
        """See the port."""
        return self._inner.settle(request)


_WATCHED: Mapping[str, Any] = {
    "channels": WatchedChannel,
    "ticketing": WatchedTicketing,
    "destinations": WatchedDestination,
    "actions": WatchedAction,
}


def adapters(built: Mapping[str, Mapping[str, Any]], points: Points) -> dict[str, Mapping[str, Any]]:
    """All adapters by family and configured name, those with effects watched."""
    return {
        family: {name: _WATCHED[family](name, one, points) for name, one in found.items()}
        if family in _WATCHED
        else found
        for family, found in built.items()
    }
