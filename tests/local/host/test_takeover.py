"""Two hosts and one hub: the one that does not own it passes its clients on, and owns it when the other dies."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from local.host.durable.storage import HubStore
from tests.local.host.conftest import StartHost
from tests.local.host.durable_calls import RPC, Client
from tests.local.host.process import until

STATUS = "/admin/host/status"


def test_the_one_without_the_hub_passes_everything_on(start_host: StartHost) -> None:
    owner, other = Client(start_host("management")), Client(start_host("management"))
    assert owner.host.http.get(STATUS).json()["durable"] == "owned"
    assert other.host.http.get(STATUS).json()["durable"] == "foreign"
    chosen = other.start("stages", None)
    assert owner.reached(chosen, lambda found: found.get("customStatus") == "waiting")
    other.go(chosen, data={"ä": 1})
    assert other.ended(chosen)["output"] == [1, {"ä": 1}, 1]
    first, second = other.start("echo", 1, "p-1"), other.start("echo", 2, "p-2")
    page = other.host.http.get(f"{RPC}/instances?instanceIdPrefix=p-&top=1")
    rest = other.host.http.get(
        f"{RPC}/instances?instanceIdPrefix=p-&top=1",
        headers={"x-ms-continuation-token": page.headers["x-ms-continuation-token"]},
    )
    assert {page.json()[0]["instanceId"], rest.json()[0]["instanceId"]} == {first, second}
    assert other("purge_instance_history", instance_id=chosen) == 1
    assert other.host.http.get(f"{RPC}/instances/{chosen}").status_code == 404


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_the_heir_owns_the_hub_and_goes_on_with_everything(start_host: StartHost, how: signal.Signals) -> None:
    owner, heir = Client(start_host("management")), Client(start_host("management"))
    waits, sleeps, suspended = owner.start("stages"), owner.start("sleeps", 3), owner.start("stages")
    for one in (waits, sleeps, suspended):
        owner.reached(one, lambda found: bool(found.get("customStatus")))
    owner("suspend", instance_id=suspended, reason="wait")
    owner.host.process.send_signal(how)
    until(lambda: heir.host.http.get(STATUS).json()["durable"] == "owned", 6, "the heir to own the hub")
    heir.go(waits)
    heir.go(suspended)
    assert heir.ended(waits)["output"] == [1, "go", 1]
    ended = heir.ended(sleeps)["output"]
    assert ended["now"] >= ended["due"]
    assert heir.status(suspended)["runtimeStatus"] == "Suspended"
    heir("resume", instance_id=suspended, reason="go on")
    assert heir.ended(suspended)["output"] == [1, "go", 1]


def test_a_hub_that_cannot_be_opened_is_said_to_be_spoilt_and_is_not_locked(
    start_host: StartHost, tmp_path: Path
) -> None:
    path = tmp_path / "durable.db"
    path.write_bytes(b"not a database, and long enough to be sure of it" * 4)
    for _ in range(2):  # the second time as well, and not "somebody else has it"
        with pytest.raises(sqlite3.DatabaseError):
            HubStore(path)
    with pytest.raises(AssertionError, match=r"host cannot start: the Durable hub .* file is not a database"):
        start_host("management")
    path.unlink()
    HubStore(path).close()


def test_while_nobody_owns_the_hub_clients_are_told_to_come_again(start_host: StartHost, tmp_path: Path) -> None:
    owner, other = start_host("management"), start_host("management")
    (tmp_path / "durable.db.owner").write_text("http://127.0.0.1:9")  # where nobody answers
    answer = other.http.get(f"{RPC}/instances/x")
    assert (answer.status_code, answer.json()) == (503, "another host owns the durable hub")
    (tmp_path / "durable.db.owner").write_text(str(other.http.base_url).rstrip("/"))  # which does not own it either
    assert other.http.get(f"{RPC}/instances/x").status_code == 503
    assert owner.http.get(f"{RPC}/instances/x").status_code == 404
