"""Two hosts at once on the storm brake's rows, in every order that matters (rules B1 to B3)."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from shared.agents import sweep
from shared.model.errors import TransientError
from shared.records import approvals, audit_chain, brake, incidents, journal
from tests.properties.hosts import Hosts
from tests.properties.interleaving import Work
from tests.properties.racing import A, B, opened, race


def taking(name: str) -> Work:
    def work(world: Hosts) -> None:
        place = brake.Place("i", f"event-{name}", world.now, world.now + timedelta(hours=1))
        with suppress(TransientError):
            brake.take(world.store, name, place, 2)

    return work


def putting_on(host: int) -> Work:
    def work(world: Hosts) -> None:
        with suppress(TransientError):
            brake.put_on(world.store, f"host {host} saw a storm", world.now + timedelta(milliseconds=host), carrier="i")

    return work


def putting_off(world: Hosts) -> None:
    with suppress(TransientError):
        brake.put_off(world.store, "a person said so", world.now, "olga")


def test_B2_hosts_at_once_take_no_more_places_than_there_are() -> None:
    def check(world: Hosts) -> None:
        places = brake.seen(world.inner).places
        assert len(places) == 2
        assert "known" in places

    race(taking("known"), taking("one"), taking("two"), check)


def test_B2_a_place_is_not_given_back_while_it_is_asked_for() -> None:
    """The request is written while another host looks for places to give back."""

    def freeing(world: Hosts) -> None:
        brake.free(world.store, timedelta(minutes=15), world.now)

    def prepare(world: Hosts) -> None:
        opened(world)
        assert len(brake.seen(world.inner).places) == 1

    def check(world: Hosts) -> None:
        (known,) = [name for name in brake.seen(world.inner).places if name != "two"]
        assert approvals.request_of(world.inner, known) is not None
        assert "two" in brake.seen(world.inner).places

    race(prepare, freeing, taking("two"), check)


def test_B3_hosts_at_once_put_it_on_once() -> None:
    def check(world: Hosts) -> None:
        entries = incidents.audit(world.inner, journal.system_chain(world.now))
        assert [entry.what for entry in entries] == [brake.ON]
        assert not audit_chain.verify(entries)
        known = brake.read(world.inner)
        assert (known.on, known.noted, known.digests, known.owed) == (True, True, 1, "on")

    race(lambda world: None, putting_on(A), putting_on(B), check)


def test_B3_on_and_off_at_once_are_both_in_the_trail() -> None:
    def check(world: Hosts) -> None:
        brake.note(world.inner, world.now)
        entries = incidents.audit(world.inner, journal.system_chain(world.now))
        known = brake.read(world.inner)
        assert [entry.what for entry in entries] == ([brake.ON] if known.on else [brake.ON, brake.OFF])

    race(lambda world: None, putting_on(A), putting_off, check)


def test_B1_the_sweep_puts_back_who_is_missing_in_the_queue() -> None:
    def prepare(world: Hosts) -> None:
        brake.put_on(world.inner, "a drill", world.now, "olga")
        opened(world)
        (waiting,) = brake.seen(world.inner).work
        brake.served(world.inner, waiting)
        world.clock[0] += timedelta(minutes=2)

    def sweeping(world: Hosts) -> None:
        with suppress(TransientError):
            sweep.run(world.engine.ports, world.anchor, world.now)

    def check(world: Hosts) -> None:
        assert len(brake.seen(world.inner).work) == 1
        assert len(incidents.held(world.inner, world.ids()[0])) == 2

    race(prepare, sweeping, sweeping, check)
