"""Two hosts on one store and one broker, and a schedule that says which of them gets which message, and how often.

In: messages that wait in a queue, and a drawn order with redeliveries. Out: the world after they were worked off.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from shared.adapters.stores.sqlite import SqliteStore
from shared.config.schema import Settings
from shared.dispatch import Engine
from shared.model import codec
from shared.model.pipeline import Queue
from shared.ports.bus import Message
from shared.ports.store import Operation, Page, Row, Store, Table
from tests.pipeline.broker import DEDUP_WINDOW, Entry
from tests.pipeline.faults import Points
from tests.pipeline.world import Unkept, World

Meanwhile = Sequence[tuple[int, Callable[[], None]]]  # before which outside call, and what happens there
Waiting = tuple[Queue, Message]
MAX_EXTRA = 4
MAX_CALLS = 30  # a hop makes that many calls to the outside at most, in these stories


class Call(NamedTuple):
    """One call to the outside of a process.

    Attributes:
        place: table and partition; the name of the effect for what is not the store.
    """

    kind: str
    place: str
    key: str = ""

    @property
    def writes(self) -> bool:
        """It changes something that the other host may read."""
        return self.kind not in ("get", "query")


class Hooked:
    """A store that says so before each call."""

    def __init__(self, rows: Store, before: Callable[[Call], None]) -> None:
        self.rows, self.before = rows, before

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        self.before(Call("get", f"{table}/{partition}", key))
        return self.rows.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        self.before(Call("write", f"{table}/{partition}", operation.key))
        return self.rows.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        self.before(Call("transact", f"{table}/{partition}"))
        return self.rows.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        self.before(Call("query", f"{table}/{partition}", start))
        return self.rows.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        return self.rows.partitions(table)


class HookedPoints(Points):
    """Sends and effects say so too; the store says so itself."""

    def __init__(self, before: Callable[[Call], None]) -> None:
        super().__init__()
        self._before = before

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if not name.startswith(("write ", "transact ")):
            self._before(Call("effect", name))
        with super().step(name):
            yield


@dataclass(frozen=True, slots=True)
class Turn:
    """One delivery.

    Attributes:
        message: number of the message.
        attempt: how much higher its attempt is than that of the message.
        host: which of the two hosts gets it.
        within: 0 by itself; otherwise in the middle of the next one, before that one's so-manieth outside call.
    """

    message: int
    attempt: int = 0
    host: int = 0
    within: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Deliveries in order, and those that come again when everything is long over."""

    turns: tuple[Turn, ...]
    late: tuple[Turn, ...] = ()


@st.composite
def schedules(draw: st.DrawFn, messages: int, chains: Sequence[int] = ()) -> Schedule:
    """Every message at least once, in any order, some of them again: at once, meanwhile, later, one attempt higher.

    Args:
        chains: messages with the same number here keep their order among themselves; none do when it is empty.
    """
    numbers, hosts = st.integers(0, messages - 1), st.integers(0, 1)
    order = draw(st.permutations(range(messages)))
    if chains:
        mine = {chain: iter([n for n in range(messages) if chains[n] == chain]) for chain in set(chains)}
        order = [next(mine[chains[number]]) for number in order]
    turns = [Turn(number, host=draw(hosts)) for number in order]
    again = st.builds(Turn, numbers, st.integers(0, 1), hosts, st.integers(0, MAX_CALLS))
    for extra in draw(st.lists(again, max_size=MAX_EXTRA)):
        first = next(n for n, turn in enumerate(turns) if turn.message == extra.message)
        turns.insert(draw(st.integers(first + 1 if chains else 0, len(turns))), extra)
    late = draw(st.lists(st.builds(Turn, numbers, st.integers(0, 2), hosts), max_size=2))
    return Schedule(tuple(turns), tuple(late))


def in_order(messages: int) -> Schedule:
    """Each once, as they were sent."""
    return Schedule(tuple(Turn(number) for number in range(messages)))


def what_a_process_has() -> dict[str, Any]:
    """What an engine remembers and a second process does not share: repeats, recent commits, and the like."""
    made = {f.name: f.default_factory for f in fields(Engine) if f.default_factory is not MISSING}
    return {name: make() for name, make in made.items() if name != "telemetry"}


class Hosts(World):
    """A world whose messages are worked off by two hosts.

    Args:
        chance: picks host, order and doubled deliveries of everything a test does not deliver itself; ``None`` is one
            host after the other, in order, once.
    """

    def __init__(self, store: Store, chosen: Settings | None = None, chance: random.Random | None = None) -> None:
        points = HookedPoints(self._before)
        super().__init__(store, chosen, points)
        self._armed: list[tuple[int, Callable[[], None]]] = []
        self._calls = 0
        self._turn = 0
        self.chance = chance
        self.bus.shuffle, self.bus.doubled = chance, 0.2
        self.store.inner = Hooked(store, self._before)
        self.own = (what_a_process_has(), what_a_process_has())
        self.places = (Unkept(self.bus, self.at_once), Unkept(self.bus, self.at_once))
        self.listener: Callable[[Call], None] = lambda call: None
        self.stash: dict[Queue, list[Message]] = {}

    def on(self, host: int) -> None:
        """The next invocation is this host's."""
        self.engine = replace(self.engine, **{**self.own[host], "at_once": self.places[host]})

    def _before(self, call: Call) -> None:
        self.listener(call)
        self._calls += 1
        due = [work for at, work in self._armed if at <= self._calls]
        if due:
            self._armed = [(at, work) for at, work in self._armed if at > self._calls]
            for work in due:
                work()

    def _work_once(self) -> bool:
        self._turn += 1
        self.on(self.chance.randint(0, 1) if self.chance else self._turn % 2)
        return super()._work_once()

    def _advance(self, to: Any) -> None:
        super()._advance(to)
        for own in self.own:  # what the thread of a host does every few seconds
            own["memory"].flush(self.store, self.now)

    def waiting(self, *queues: Queue) -> list[Waiting]:
        """Take the messages of queues that are kept out of them, in the order they were sent."""
        found = [entry for entry in self.bus.entries if entry.queue in queues]
        self.bus.entries = [entry for entry in self.bus.entries if entry.queue not in queues]
        return [(entry.queue, entry.message) for entry in found]

    def entry(self, queue: Queue, message: Message) -> Entry:
        """A delivery that duplicate detection does not stop, such as one whose lock was lost."""
        return Entry(queue, message, self.now)

    def take(self, queue: Queue, message: Message, host: int, meanwhile: Meanwhile) -> None:
        """One delivery to one host; others come in the middle of it."""
        outer, armed, calls = self.engine, self._armed, self._calls
        self.on(host)
        self._calls = 0
        self._armed = [(at, work) for at, work in meanwhile]
        entry = self.entry(queue, message)
        self.bus.entries.append(entry)
        try:
            self._alive(lambda: self.invoke(entry))
        finally:
            left, self._armed, self._calls = self._armed, armed, calls
        for _, work in left:
            work()
        self.engine = outer

    def deliver_all(self, messages: Sequence[Waiting], schedule: Schedule) -> None:
        """Deliver as scheduled, let everything end, and deliver once more what comes late."""
        self.deliver_turns(messages, schedule.turns)
        self.bus.kept.clear()
        self.settle()
        self._advance(self.now + DEDUP_WINDOW + timedelta(minutes=5))
        self.settle()
        self.deliver_turns(messages, schedule.late)
        for _ in range(2):
            self.settle()
            self._advance(self.now + timedelta(minutes=2))
        self.settle()

    def deliver_turns(self, messages: Sequence[Waiting], turns: Sequence[Turn]) -> None:
        """Deliver some messages, one after the other or one within the other, and nothing else."""

        def deliver(turn: Turn, meanwhile: Meanwhile) -> None:
            queue, message = messages[turn.message]
            self.take(queue, again(message, turn.attempt), turn.host, meanwhile)

        waiting: list[tuple[int, Callable[[], None]]] = []
        for turn in turns:
            if turn.within:
                waiting.append((turn.within, partial(deliver, turn, ())))
                continue
            deliver(turn, waiting)
            waiting = []
        for _, left in waiting:
            left()


def again(message: Message, attempts: int) -> Message:
    """The message as a later attempt of its event (rule M3)."""
    if not attempts:
        return message
    event = codec.decode_event(message.body)
    event = replace(event, attempt=event.attempt + attempts)
    return replace(message, message_id=event.message_id, body=codec.encode_event(event))


@contextmanager
def hosts(chosen: Settings | None = None, seed: int | None = None) -> Iterator[Hosts]:
    """A world of two hosts over an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "store.db")
        try:
            yield Hosts(store, chosen, None if seed is None else random.Random(seed))
        finally:
            store.close()
