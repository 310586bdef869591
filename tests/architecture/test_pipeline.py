"""The pipeline table is true: every micro-agent exists, is owned, is tested, and is reached as the table says."""

from __future__ import annotations

from collections import Counter

import pytest

from functions import MODULES
from local.host.loader import FunctionSpec, Trigger, import_app
from local.pages import module_of
from shared import wiring
from shared.adapters.stores.sqlite import SqliteStore
from shared.model.pipeline import DESTINATION, OWNER, PIPELINE, STAGES, Agent, MicroAgent, Queue, Role, source_of
from tests.architecture.sources import ROOT
from tests.triggers.app import Desk, load

WITHOUT_A_QUEUE = {MicroAgent.COLLECTOR, MicroAgent.CONDUCTOR}
TIMERS = dict.fromkeys(
    ("poll", "sweep_pending", "collect_dead_letters", "anchor_heads", "purge_old", "watch_itself", "work_off_storm"),
    Role.CORE,
)
DURABLE = {"approval_wait", "look_at_approval", "enact_decision"}
HTTP = {"receive_signals", "health", "live", "ready", "portal"}


@pytest.mark.parametrize("name", MicroAgent)
class TestEveryMicroAgent:
    def test_has_a_module_of_its_name_under_its_group(self, name: MicroAgent) -> None:
        folder = module_of(name).split("/")[2]
        group = Agent.REMEDIATOR if name is MicroAgent.EXECUTOR else OWNER[name]
        assert folder == (f"{name}.py" if name is MicroAgent.CONDUCTOR else str(group))

    def test_has_tests_of_its_name(self, name: MicroAgent) -> None:
        assert list((ROOT / "tests" / "agents").rglob(f"test_{name}.py"))

    def test_is_owned(self, name: MicroAgent) -> None:
        assert source_of(name) == f"/agents/{OWNER[name]}/{name}"

    def test_works_in_one_place(self, name: MicroAgent) -> None:
        chains = {stage.chain for stage in PIPELINE if name in stage.chain}
        assert len(chains) == (0 if name in WITHOUT_A_QUEUE else 1)

    def test_is_run_by_dispatch(self, name: MicroAgent) -> None:
        called_by_name = {MicroAgent.COLLECTOR, MicroAgent.EVALUATOR, MicroAgent.ALERT_ROUTER, MicroAgent.CONDUCTOR}
        assert (name in wiring.WORKERS) is (name not in called_by_name)


def test_there_are_sixteen_and_the_conductor() -> None:
    assert len(MicroAgent) == 17


def test_every_queue_but_quarantine_has_one_stage_and_every_event_a_queue_that_is_worked_off() -> None:
    assert Counter(stage.queue for stage in PIPELINE) == Counter(set(Queue) - {Queue.QUARANTINE})
    assert set(DESTINATION.values()) <= set(STAGES)


def test_only_the_executor_changes_workloads() -> None:
    assert [stage.chain for stage in PIPELINE if stage.role is Role.EXEC] == [(MicroAgent.EXECUTOR,)]
    assert OWNER[MicroAgent.EXECUTOR] is Agent.EXECUTOR


def _expected(roles: str) -> set[str]:
    return {str(stage.queue) for stage in PIPELINE if str(stage.role) in roles.split(",")}


@pytest.mark.parametrize("roles", ["edge", "core", "exec", "edge,core,exec", "exec,edge"])
class TestTriggers:
    @pytest.fixture
    def functions(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, roles: str) -> dict[str, FunctionSpec]:
        return load(monkeypatch, Desk(store).app, roles)

    def test_each_queue_has_one_consumer_in_the_app_of_its_role(
        self, functions: dict[str, FunctionSpec], roles: str
    ) -> None:
        consumed = [spec.binding["queueName"] for spec in functions.values() if spec.trigger is Trigger.SERVICE_BUS]
        assert sorted(consumed) == sorted(_expected(roles))
        assert {s.binding["connection"] for s in functions.values() if s.trigger is Trigger.SERVICE_BUS} <= {
            "ServiceBusConnection"
        }

    def test_a_role_registers_nothing_else(self, functions: dict[str, FunctionSpec], roles: str) -> None:
        others = {name for name, spec in functions.items() if spec.trigger is not Trigger.SERVICE_BUS}
        core = {name for name, role in TIMERS.items() if role in roles.split(",")}
        expected = core | (DURABLE if "core" in roles else set()) | (HTTP if "edge" in roles else set())
        assert {name.lower() for name in others} == expected


def test_function_names_say_what_they_consume(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, spec in load(monkeypatch, Desk(store).app).items():
        if spec.trigger is Trigger.SERVICE_BUS:
            assert name == {"approvals": "approval_requests"}.get(spec.binding["queueName"], spec.binding["queueName"])


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ("edge,coer", "ARGUS_ROLES names coer; the roles are edge, core, exec"),
        (" ,", "ARGUS_ROLES names no role; the roles are edge, core, exec"),
    ],
)
def test_unknown_roles_are_refused(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, roles: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load(monkeypatch, Desk(store).app, roles)


def test_every_trigger_file_belongs_to_a_role() -> None:
    files = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__"}
    assert {name for names in MODULES.values() for name in names} == files


def test_a_configuration_that_cannot_be_used_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARGUS_ROLES", "exec")
    monkeypatch.setenv("ARGUS_CONFIG", str(ROOT / "tests" / "config" / "bad" / "several.yaml"))
    monkeypatch.syspath_prepend(str(ROOT))
    wiring.app.cache_clear()
    with pytest.raises(wiring.ConfigError, match=r"several\.yaml:\d+: "):
        import_app(ROOT)
