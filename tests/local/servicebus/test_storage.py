"""What was committed is there at the next start; what was not is not."""

import sqlite3
from pathlib import Path

import pytest

from local.servicebus.queue import Queue
from local.servicebus.storage import Store, StoreInUse
from tests.local.servicebus.fakes import message, policy


def opened(path: Path) -> tuple[Queue, Store]:
    store = Store(path)
    queue = Queue(policy(), store)
    queue.restore(*store.load("q"))
    return queue, store


def test_everything_but_the_locks_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "made" / "b.db"
    queue, store = opened(path)
    queue.send([message(b"%d" % n, message_id=f"id{n}") for n in range(4)], 0)
    queue.send([message(b"later", due_ms=5000)], 0)
    first, second, third, _ = [queue.lock_next(0) for _ in range(4)]
    assert first
    assert second
    assert third
    queue.complete(first.token, 0)
    queue.abandon(second.token, 0)
    queue.reject(third.token, "why", None, 0)
    store.commit()
    store.close()

    again, store = opened(path)
    assert again.counts(0) == {"active": 2, "locked": 0, "scheduled": 1, "deferred": 0, "oldest_s": 0.0}
    back = again.lock_next(0)
    assert back is not None
    assert (back.entry.seq, back.entry.delivery_count, back.entry.message.rest[-1:]) == (2, 1, b"1")
    dead = again.dead_letter.lock_next(0)
    assert dead is not None
    assert dead.entry.seq == 3
    assert b"why" in dead.entry.message.application
    assert again.send([message(message_id="id0"), message()], 1) == [1, 6]
    again.advance(5000)
    assert again.counts(5000)["scheduled"] == 0
    store.close()


def test_what_was_not_committed_is_gone(tmp_path: Path) -> None:
    queue, store = opened(tmp_path / "b.db")
    queue.send([message()], 0)
    store.commit()
    queue.send([message()], 0)
    store.close()
    again, store = opened(tmp_path / "b.db")
    assert again.counts(0)["active"] == 1
    assert again.send([message()], 0) == [2]
    store.close()


def test_one_broker_per_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "b.db")
    with pytest.raises(StoreInUse, match="another broker already uses"):
        Store(tmp_path / "b.db")
    store.close()
    Store(tmp_path / "b.db").close()


def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "b.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ValueError, match="schema 99"):
        Store(tmp_path / "b.db")


def test_deferred_messages_come_back_deferred(tmp_path: Path) -> None:
    queue, store = opened(tmp_path / "b.db")
    queue.send([message(), message()], 0)
    for target in (queue, queue.dead_letter):
        lock = target.lock_next(0)
        assert lock is not None
        if target is queue:
            target.defer(lock.token, 0)
            other = target.lock_next(0)
            assert other is not None
            target.reject(other.token, None, None, 0)
        else:
            target.defer(lock.token, 0)
    store.commit()
    store.close()
    again, store = opened(tmp_path / "b.db")
    assert again.lock_next(0) is None
    assert again.dead_letter.lock_next(0) is None
    assert [entry.delivery_count for entry in again.take_deferred([1], 0)] == [1]
    assert [entry.seq for entry in again.dead_letter.take_deferred([2], 0)] == [2]
    store.close()


def test_a_long_queue_stays_on_disk_and_comes_whole_and_in_order(tmp_path: Path) -> None:
    queue, store = opened(tmp_path / "b.db")
    bodies = [b"%06d" % number * 20_000 for number in range(30)]
    queue.send([message(body) for body in bodies], 0)
    in_memory = [entry.held for entry in queue._entries.values() if entry.held]
    assert len(in_memory) == 8, "120 kB each, of 1 MB"
    store.commit()
    for target in (queue, None):
        if target is None:
            store.close()
            target, store = opened(tmp_path / "b.db")
            assert not [entry for entry in target._entries.values() if entry.held]
        for body in bodies:
            lock = target.lock_next(0)
            assert lock is not None
            assert lock.entry.message.rest.endswith(body)
    store.close()


# The schema as version 1 had it, with one message in it.
VERSION_1 = """
CREATE TABLE messages (
    queue TEXT NOT NULL, seq INTEGER NOT NULL, first_seq INTEGER NOT NULL, dead INTEGER NOT NULL,
    enqueued_ms INTEGER NOT NULL, ttl_ms INTEGER, due_ms INTEGER, delivery_count INTEGER NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (queue, seq)
) WITHOUT ROWID;
CREATE TABLE message_ids (
    queue TEXT NOT NULL, key BLOB NOT NULL, seq INTEGER NOT NULL, until_ms INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
) WITHOUT ROWID;
CREATE TABLE sequences (queue TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO sequences VALUES ('q', 7);
PRAGMA user_version=1;
"""


def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "b.db") as db:
        db.executescript(VERSION_1)
        db.execute("INSERT INTO messages VALUES ('q', 7, 7, 0, 5, NULL, NULL, 2, ?)", (message(b"old").encode(),))
    db.close()
    queue, store = opened(tmp_path / "b.db")
    lock = queue.lock_next(10)
    assert lock is not None
    assert (lock.entry.seq, lock.entry.delivery_count, lock.entry.message.rest[-3:]) == (7, 2, b"old")
    queue.defer(lock.token, 10)
    store.commit()
    store.close()
    again, store = opened(tmp_path / "b.db")
    assert [entry.seq for entry in again.take_deferred([7], 10)] == [7]
    assert again.send([message()], 10) == [8]
    store.close()
