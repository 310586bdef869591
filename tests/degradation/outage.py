"""A world whose parts can be unplugged, and the story that is played while one is.

In: a part, and for how long it is away. Out: what the incident said meanwhile, and what there is in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared.model.diagnosis import Evidence, EvidenceStatus
from shared.model.errors import Reason, TransientError
from shared.model.lifecycle import State
from shared.model.missing import Missing
from shared.model.notice import Notice
from shared.ports import Ports
from shared.ports.evidence import Question
from shared.ports.source import Source
from shared.ports.store import Operation, Page, Row, Store, Table
from shared.records import approvals, index
from tests.agents import cases
from tests.pipeline.far_sides import Chat, Wiki
from tests.pipeline.world import World

HOUR = timedelta(hours=1)
AFTERWARDS = timedelta(minutes=25)  # the longest back-off, and the sweep after it
AWAY = "does not answer"


class Plug:
    """A far side on a plug; calls fail while it is out, and go through while it is in."""

    def __init__(self, inner: Any, name: str) -> None:
        self._inner, self._name = inner, name
        self.out = False
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._inner, name)
        if not callable(member):
            return member

        def call(*given: Any, **more: Any) -> Any:
            if self.out:
                self.refused += 1
                raise TransientError(f"{self._name} {AWAY}", Reason.UNAVAILABLE, sent=False)
            return member(*given, **more)

        return call


@dataclass
class Sources:
    """Evidence of a bad release, from a metrics source and a deployment log, each of which may be away."""

    away: set[str]

    def gather(self, question: Question) -> tuple[Evidence, ...]:
        """See the port."""
        found = []
        for item in cases.bad_release():
            source = item.source
            if source in self.away:
                item = replace(
                    item, id="", status=EvidenceStatus.ERROR, points=(), lines=(), title=f"{source} gave no answer",
                    summary=f"{source} {AWAY}",
                )  # fmt: skip
            found.append(item)
        return tuple(found)


class SlowStore:
    """A store that takes its time, on the clock of the world."""

    def __init__(self, inner: Store, clock: list[Any], takes: timedelta) -> None:
        self._inner, self._clock, self.takes = inner, clock, takes

    def _wait(self) -> None:
        self._clock[0] += self.takes

    def get(self, table: Table, partition: str, key: str) -> Row | None:
        """See the port."""
        self._wait()
        return self._inner.get(table, partition, key)

    def write(self, table: Table, partition: str, operation: Operation) -> str:
        """See the port."""
        self._wait()
        return self._inner.write(table, partition, operation)

    def transact(self, table: Table, partition: str, operations: Sequence[Operation]) -> Sequence[str]:
        """See the port."""
        self._wait()
        return self._inner.transact(table, partition, operations)

    def query(self, table: Table, partition: str, start: str = "", below: str = "\uffff", limit: int = 1000) -> Page:
        """See the port."""
        self._wait()
        return self._inner.query(table, partition, start, below, limit)

    def partitions(self, table: Table) -> tuple[str, ...]:
        """See the port."""
        return self._inner.partitions(table)


class Unplugged(World):
    """A world in which every part of the outside is on a plug.

    Attributes:
        pager: a second channel; it is told only where the configuration says so.
    """

    def __init__(self, store: Store, **sections: Any) -> None:
        super().__init__(store)
        self.pager = Chat(self.points)
        self.plugs: Mapping[str, Plug] = {
            "chat": Plug(self.chat, "chat"),
            "pager": Plug(self.pager, "pager"),
            "desk": Plug(self.desk, "desk"),
            "wiki": Plug(self.wiki, "wiki"),
            "workload": Plug(self.workload, "workload"),
        }
        self.sources = Sources(set())
        ports = replace(
            self.engine.ports,
            channels={"chat": self.plugs["chat"], "pager": self.plugs["pager"]},
            ticketing={"desk": self.plugs["desk"]},
            destinations={"wiki": self.plugs["wiki"]},
            actions={"deploy_hook": self.plugs["workload"]},
            investigator=self.sources,
        )
        self.engine = replace(self.engine, ports=ports)
        if sections:
            self.configure(**sections)

    def _work_once(self) -> bool:
        """Nothing is delivered by a bus that is down, and nothing runs on a host that cannot reach it."""
        if not self.bus.down:
            return super()._work_once()
        return False

    def _next(self, at_most: Any) -> Any:
        return min(at_most, self.now + timedelta(minutes=1)) if self.bus.down else super()._next(at_most)

    # What is seen meanwhile

    def missing(self, number: int = 0) -> list[Missing]:
        """What the incident says is missing."""
        return list(self.incident(number).missing)

    def says(self) -> list[str]:
        """The sentences of it, as pages, JSON and cards show them."""
        return [missing.says for missing in self.missing()]

    def on_the_list(self) -> tuple[str, ...]:
        """What the line of the first incident in the list says is missing."""
        lines = {line.id: line for line in index.incidents(self.inner)}
        return lines[self.incident().id].missing

    def times(self, words: str) -> int:
        """How many lines of the timeline say something."""
        return sum(words in what for what in self.story())

    # The story

    def until_asked(self, within: timedelta = timedelta(hours=3)) -> None:
        """Let it go on until people are asked to approve."""
        self.run_until(lambda: bool(self.ids()) and self.incident().state is State.AWAITING_APPROVAL, within)

    def approve(self) -> None:
        """A person approves, and the action runs."""
        self.vote()
        self.run_until(lambda: bool(self.incident().actions))

    def end_at_source(self) -> None:
        """The alert resolves at its source, and the incident closes."""
        self.resolves()
        self.run_until(lambda: self.incident().state is State.CLOSED)

    def end(self) -> None:
        """It is over, and everything that is left is done."""
        self.end_at_source()
        self.pass_time(AFTERWARDS)

    def with_sources(self, sources: Mapping[str, Source]) -> Ports:
        """The ports, with webhook sources."""
        return replace(self.engine.ports, sources=sources)

    def add_destination(self, name: str) -> Wiki:
        """Another destination, which is always there."""
        wiki = Wiki(self.points)
        there = {**self.engine.ports.destinations, name: wiki}
        self.engine = replace(self.engine, ports=replace(self.engine.ports, destinations=there))
        return wiki


def out_for_an_hour(world: Unplugged, name: str, meanwhile: Callable[[], None]) -> None:
    """Unplug a part, let something happen, and plug it in an hour later."""
    began = world.now
    world.plugs[name].out = True
    meanwhile()
    world.pass_time(max(began + HOUR - world.now, timedelta(0)))
    assert world.plugs[name].refused > 3, "it was asked again and again"
    world.plugs[name].out = False


def assert_nothing_lost_or_doubled(world: Unplugged) -> None:
    """One ticket, one action, one publication, one card of each kind and channel; nothing left over, nothing broken."""
    assert len(world.ids()) == 1
    assert len(world.workload.runs) == 1
    assert [len(world.desk.tickets), len(world.desk.drafts)] == [1, 1]
    assert set(world.desk.state.values()) == {"resolved"}
    assert len({text for _, text in world.desk.notes}) == len(world.desk.notes)
    assert world.wiki.pages
    for channel in (world.chat, world.pager):
        keys = [key for key, _, _ in channel.posts]
        assert len(keys) == len(set(keys))
    assert world.incident().documents
    assert not world.bus.quarantined
    assert not world.bus.entries
    assert not world.rows("outbox|")
    assert not world.rows("held|")
    assert not world.audit_problem()
    assert not world.missing(), "it says nothing is missing any more"
    assert not world.on_the_list()


def cards(channel: Chat) -> list[str]:
    """Kinds of the cards of a channel, in order."""
    return [str(notice.kind) for _, notice, _ in channel.posts]


def fact(notice: Notice, name: str) -> str:
    """A fact of a card; empty when it has none of that name."""
    return next((fact.value for fact in notice.facts if fact.name == name), "")


def decided(world: Unplugged) -> str:
    """The verdict as it is stored."""
    waiting = world.incident().approval
    found = approvals.decision_of(world.inner, waiting.id) if waiting else None
    return str(found.verdict) if found else ""
