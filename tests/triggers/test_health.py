"""The health addresses as a host serves them, and the heartbeat of every timer."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from local.host.loader import FunctionSpec
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.errors import TransientError
from shared.model.limits import TIMER_LATE_S
from shared.records import heartbeats
from tests.pipeline.faults import FragileStore, Points
from tests.triggers.app import ROOT, Desk, asked, load
from tests.triggers.test_queues_and_timers import CLIENT, _run, _timer

# What each timer function is called where people see it.
NAMES = {
    "poll": "poll",
    "sweep_pending": "sweep",
    "watch_itself": "watch",
    "work_off_storm": "brake",
    "collect_dead_letters": "dead_letters",
    "anchor_heads": "anchor",
    "purge_old": "purge",
}


@pytest.fixture
def edges(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> dict[str, FunctionSpec]:
    return load(monkeypatch, Desk(store).app, "edge")


@pytest.mark.parametrize("name", ["health", "live"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_touches_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, name: str, method: str) -> None:
    broken = FragileStore(store, Points(), down=True)
    answer = asked(load(monkeypatch, Desk(broken).app, "edge")[name], method)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.body == (b"" if method == "HEAD" else b'{"status": "ok"}')


def test_the_addresses(edges: dict[str, FunctionSpec]) -> None:
    assert [edges[name].binding["route"] for name in ("health", "live", "ready")] == [
        "healthz", "api/health", "api/ready",
    ]  # fmt: skip


def test_ready_through_the_host(edges: dict[str, FunctionSpec]) -> None:
    answer = asked(edges["ready"], "GET")
    assert answer.status == 200
    assert answer.json["parts"]["store"] == "ok"
    assert asked(edges["ready"], "HEAD").body == b""


def test_not_ready_is_problem_json(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = FragileStore(store, Points(), down=True)
    answer = asked(load(monkeypatch, Desk(broken).app, "edge")["ready"], "GET")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["parts"]["store"] == "failed"


def timers(functions: dict[str, FunctionSpec]) -> dict[str, FunctionSpec]:
    return {name: spec for name, spec in functions.items() if "schedule" in spec.binding}


def test_every_timer_is_known_by_name_and_has_a_limit(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = timers(load(monkeypatch, Desk(store).app))
    assert set(found) == set(NAMES), "a new timer needs a name here and a limit in shared/config/schema.py"
    assert set(NAMES.values()) == set(TIMER_LATE_S)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "purge_old"])
def test_every_timer_beats(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    spec = load(monkeypatch, Desk(store).app)[name]
    _run(spec, _timer(None), **dict.fromkeys(spec.clients, CLIENT))
    beat = heartbeats.beat_of(store, f"timer {NAMES[name]}")
    assert beat is not None
    assert (beat.failures, beat.why) == (0, "")


def test_a_timer_that_fails_says_so_and_the_host_hears_of_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Poller:
        name = "p"

        def poll(self, due: object) -> tuple[()]:
            raise TransientError("the poller broke its contract")

    spec = load(monkeypatch, Desk(store, overrides={"pollers": {"p": Poller()}}).app)["poll"]
    for _ in range(3):
        with pytest.raises(TransientError):
            _run(spec, _timer(None))
    beat = heartbeats.beat_of(store, "timer poll")
    assert beat is not None
    assert (beat.failures, beat.why, beat.ok_at) == (3, "the poller broke its contract", None)


def test_every_round_of_a_timer_is_one_that_beats() -> None:
    """The purge is too heavy to run here; that its round is decorated is seen in the code."""
    tree = ast.parse((Path(ROOT) / "shared" / "dispatch" / "upkeep.py").read_text("utf-8"))
    decorated = {
        node.name: ast.unparse(node.decorator_list[0])
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }
    assert decorated["purge"] == "beats('purge')"
