"""The command line against a portal that answers over HTTP."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from argus.cli import main, parser
from argus.tables import Paper, age, clean, clock
from shared.model.approval import Choice, Verdict
from shared.model.errors import TransientError
from shared.model.event import (
    ClosingKind,
    ClosingRequested,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentRequested,
)
from shared.model.lifecycle import State
from shared.model.pipeline import Queue
from shared.model.signal import Severity
from shared.records import approvals
from tests.argus.conftest import Shell
from tests.portal.world import HISTORY, INCIDENT, NOW, crowd, incident, keep, plan, settled, story


def _ask(shell: Shell) -> str:
    """A story whose approval is open now, by the wall clock the server has."""
    shell.site.clock.now = NOW
    _, request = story(shell.site.store)
    return request.id


def test_incidents_are_a_table(shell: Shell) -> None:
    approval = _ask(shell)
    crowd(shell.site.store)
    code, out, err = shell("incidents")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["ID", "SEV", "STATE", "SERVICE", "AGE", "SEEN", "BY", "TICKET", "TITLE"]
    column = lines[0].index("TITLE")
    assert any(line[column:] == "shop: error budget burns 14 times too fast" for line in lines)
    assert (
        f"waiting: python -m argus approve {approval} --as USER    (shop: error budget burns 14 times too fast)"
        in lines
    )
    assert "\x1b" not in out
    assert len(lines) == 6
    assert len(shell("incidents", "--all")[1].splitlines()) == 8
    assert len(shell("incidents", "--all", "--service", "search", "--limit", "1")[1].splitlines()) == 2


def test_json_is_what_the_interface_answers(shell: Shell) -> None:
    _ask(shell)
    assert json.loads(shell("incidents", "--json")[1])["count"] == 1
    assert json.loads(shell("show", INCIDENT, "--json")[1])["id"] == INCIDENT
    assert json.loads(shell("alerts", "--json")[1])["count"] == 0
    assert json.loads(shell("queues", "--json")[1])[0]["name"] == "signals"


def test_empty_lists_say_what_to_do(shell: Shell) -> None:
    assert "--all" in shell("incidents")[1]
    assert shell("incidents", "--all")[1] == "no incidents\n"
    assert "--sample" in shell("alerts")[1]


def test_alerts_say_why(shell: Shell) -> None:
    crowd(shell.site.store)
    assert "sev4 is listed and opens no incident" in shell("alerts")[1]


def test_show_tells_the_story(shell: Shell) -> None:
    approval = _ask(shell)
    code, out, _ = shell("show", "7d3c2a")
    assert code == 0
    for words in (
        "sev1  shop: error budget", "INC0010042 https://snow.example/INC0010042", "cause: 86 %  Release 1.4.2",
        "evidence: Ratio of failed requests", "plan: Roll shop back to 1.4.1: deploy_hook on shop",
        f"argus approve {approval} --as USER", "ticket INC0010042 opened", "audit: whole, 7 entries",
    ):  # fmt: skip
        assert words in out, words
    crowd(shell.site.store)
    closed = shell("show", "4d4d4d4d")[1]
    assert "action: done: deploy_hook on shop: deployed 1.3.9" in closed
    assert "document: Review: shop, 19 November  https://wiki.example/r/1" in closed


@pytest.mark.parametrize(
    ("arguments", "queue", "data", "words"),
    [
        (("ack", "7d3c2a"), Queue.INCIDENTS, IncidentAcknowledged("maya"), "will be acknowledged by maya"),
        (("assign", INCIDENT, "liam"), Queue.INCIDENTS, IncidentAssigned("maya", "liam"), "will be assigned to liam"),
        (
            ("close", "7d3c2a", "--reason", "a drill"), Queue.CLOSING,
            ClosingRequested(ClosingKind.MANUAL, "maya", "a drill"), "will be closed by maya",
        ),
        (
            ("open", "--title", "Nobody can pay", "--service", "shop"), Queue.INCIDENTS,
            IncidentRequested("maya", "Nobody can pay", "shop", Severity.SEV2), "accepted: incident",
        ),
    ],
    ids=["ack", "assign", "close", "open"],
)  # fmt: skip
def test_people_act(shell: Shell, arguments: tuple[str, ...], queue: Queue, data: object, words: str) -> None:
    keep(shell.site.store, incident(), HISTORY[:1])
    code, out, err = shell(*arguments, "--as", "maya")
    assert (code, err) == (0, "")
    assert words in out
    assert [event.data for event in shell.site.bus.events(queue)] == [data]


@pytest.mark.parametrize("name", ["approval", "incident"])
@pytest.mark.parametrize("choice", list(Choice))
def test_people_decide(shell: Shell, choice: Choice, name: str) -> None:
    approval = _ask(shell)
    code, out, err = shell(
        choice, approval if name == "approval" else "7d3c2a10", "--as", "maya", "--comment", "I agree"
    )
    assert (code, out, err) == (0, "Your vote is in. The outcome follows in a moment.\n", "")
    (vote,) = approvals.votes_of(shell.site.store, approval)
    assert (vote.user, vote.choice, vote.comment) == ("maya", choice, "I agree")


def test_a_vote_kept_without_a_bus_is_said_so(shell: Shell) -> None:
    approval = _ask(shell)
    shell.site.bus.failures.append(TransientError("down"))
    assert "Your vote is kept" in shell("approve", approval, "--as", "maya")[1]


def test_refused_decisions_are_not_ok(shell: Shell) -> None:
    approval = _ask(shell)
    code, _, err = shell("approve", approval, "--as", "ruth")
    assert code == 1
    assert "Only members of oncall decide this" in err
    shell("approve", approval, "--as", "maya")
    assert "You have voted already" in shell("approve", approval, "--as", "maya")[2]
    shell.site.clock.now = NOW + timedelta(hours=2)
    assert "The time to decide is over" in shell("approve", approval, "--as", "liam")[2]
    assert "There is no such approval" in shell("approve", "no-such", "--as", "liam")[2]
    keep(shell.site.store, incident(id="ffffffff-0000-5000-8000-000000000000", state=State.OPEN))
    assert "waits for no approval" in shell("approve", "ffffffff", "--as", "maya")[2]


def test_a_plan_that_changes_under_way_is_refused(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    approval = _ask(shell)
    monkeypatch.setattr("shared.portal.deciding.intact", lambda request: False)
    code, _, err = shell("approve", approval, "--as", "maya")
    assert code == 1
    assert "does not match its hash" in err
    assert plan().action not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ack", "7d3c2a", "--as", "santa"), "people who can sign in: liam, maya, ruth"),
        (("ack", "abcdef", "--as", "maya"), "There is no such incident (404)"),
        (("assign", "7d3c2a", "santa", "--as", "maya"), "Nobody is called santa (400)"),
        (("show", "abc"), "at least 6 characters"),
        (("show", "a/../b"), "There is no such"),
        (("incidents", "--key", "wrong"), "give the key with --key or ARGUS_KEY"),
        (("incidents", "--limit", "0"), "Use 1 to 1000."),
        (("send", "azure_monitor"), "give a FILE, - for standard input, or --sample"),
        (("send", "azure_monitor", "x.json", "--sample"), "one of them"),
        (("send", "azure_monitor", "/no/such/file"), "cannot be read: No such file"),
        (("send", "datadog", "--sample"), "no sample for 'datadog'"),
        (("incidents", "--url", "http://127.0.0.1:9"), "connection refused"),
    ],
)
def test_what_does_not_work_says_what_to_do(shell: Shell, arguments: tuple[str, ...], words: str) -> None:
    keep(shell.site.store, incident())
    code, out, err = shell(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("argus: ")
    assert words in err


def test_signals_are_sent_with_the_key_of_their_source(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("send", "azure_monitor", "--sample")[1] == "accepted: 1 signal, receipt r-1\n"
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert "nobody knows this shape" in shell("send", "azure_monitor", str(tmp_path / "a.json"))[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"b": 2}')))
    assert shell("send", "azure_monitor", "-", "--key", "key-for-tests-only")[0] == 0
    sent = shell.far.signals
    assert [key for _, key, _ in sent] == ["key-of-azure", "key-of-azure", "key-for-tests-only"]
    assert [body for _, _, body in sent][1:] == [b'{"a": 1}', b'{"b": 2}']
    assert b"azureMonitorCommonAlertSchema" in sent[0][2]
    assert "The sources are: azure_monitor." in shell("send", "alertmanager", "--sample")[2]


def test_queues_are_a_table(shell: Shell) -> None:
    code, out, _ = shell("queues")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [
        ["QUEUE", "ACTIVE", "LOCKED", "SCHEDULED", "DEAD", "OLDEST"],
        ["signals", "2", "1", "0", "0", "1", "min"],
        ["actions", "0", "0", "3", "1", "-"],
    ]


def test_status_is_ok_when_everything_answers(shell: Shell) -> None:
    _ask(shell)
    keep(shell.site.store, incident(id="ab" * 4, state=State.CLOSED))
    code, out, _ = shell("status")
    assert code == 0
    assert "quarantine: 0 waiting\n" in out
    assert "queues: 3 messages in work, 1 dead-lettered" in out
    assert "incidents: 1 open, 1 waiting for a decision" in out
    shell.far.sandbox = 500
    code, out, _ = shell("status")
    assert code == 1
    assert "answers 500" in out


def test_status_of_nothing(shell: Shell) -> None:
    code, out, _ = shell("status", "--url", "http://127.0.0.1:9")
    assert code == 1
    assert "connection refused" in out
    assert "broker" not in out


def test_without_a_stack_it_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incidents"], {}, tmp_path) == 1
    assert "make up" in capsys.readouterr().err
    (tmp_path / ".argus").mkdir()
    (tmp_path / ".argus" / "up.json").write_text("{")
    assert main(["incidents"], {}, tmp_path) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_address_and_key_of_the_environment(shell: Shell, tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / ".argus" / "up.json").unlink()
    assert main(["incidents"], {"ARGUS_URL": shell.url + "/", "ARGUS_KEY": "key-for-tests-only"}, far) == 0
    assert main(["queues"], {"ARGUS_URL": shell.url}, far) == 1
    assert "only a local stack shows its queues here" in shell.capture.readouterr().err


def test_a_stack_with_a_data_folder_of_its_own(shell: Shell, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    (tmp_path / ".argus").rename(elsewhere)
    assert shell("incidents")[0] == 1
    assert shell("incidents", ARGUS_DATA=str(elsewhere))[0] == 0
    assert "nothing says where ARGUS is" in shell("incidents", ARGUS_DATA=str(tmp_path))[2]


def test_keys_of_a_local_stack_are_not_sent_elsewhere(shell: Shell) -> None:
    other = shell.url.replace("127.0.0.1", "localhost")
    code, _, err = shell("incidents", "--url", other)
    assert code == 1
    assert "(401)" in err


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["ack", "x"], ["audit"], ["audit", "show"], ["incidents", "--limit", "many"]]
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments, {}, Path("/"))
    assert caught.value.code == 2
    assert "usage: python -m argus" in capsys.readouterr().err


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    (commands,) = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    assert set(commands) >= {
        "incidents",
        "show",
        "ack",
        "assign",
        "close",
        "open",
        "approve",
        "reject",
        "send",
        "audit",
    }
    for name in commands:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"example: python -m argus {name}" in capsys.readouterr().out


class Terminal(io.StringIO):
    """Where somebody looks."""

    def isatty(self) -> bool:
        return True


def test_colours_only_where_somebody_looks() -> None:
    plain, seen, off = io.StringIO(), Terminal(), Terminal()
    for paper in (Paper(plain), Paper(seen), Paper(off, no_color=True)):
        paper.table(("SEV", "TITLE"), [("sev0", "x" * 500)])
        paper.line("broken", "red")
    assert "\x1b[31msev0\x1b[0m" in seen.getvalue()
    assert "…" in seen.getvalue()
    assert "\x1b" not in plain.getvalue() + off.getvalue()
    assert "x" * 500 in plain.getvalue()


def test_text_from_outside_cannot_move_the_cursor(shell: Shell) -> None:
    keep(shell.site.store, incident(title="a\x1b[2J\x07b\r\nc\u202e", summary="\x1b]0;owned\x07"))
    for command in (("incidents",), ("show", INCIDENT)):
        out = shell(*command)[1]
        assert not [c for c in out if c != "\n" and (ord(c) < 32 or c in "\x7f\u202e")]
    assert clean("a\x1b[2J\r\nb") == "a⟨U+001B⟩[2J b"


def test_times() -> None:
    assert age("2026-11-20T02:00:00+00:00", NOW) == "13 min"
    assert (age("never"), clock("never")) == ("?", "?")
    assert clock("2026-11-20T03:13:05+01:00") == "2026-11-20 02:13:05"


def test_the_module_can_be_run(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "argus", "incidents", "--url", "http://127.0.0.1:9"],
        cwd=root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "argus: http://127.0.0.1:9 does not answer: connection refused\n"
        "       is it running? `make up` starts one here\n"
    )


def test_an_incident_without_a_cause_says_so(shell: Shell) -> None:
    shell.site.clock.now = NOW
    held, request = story(shell.site.store)
    assert held.diagnosis is not None
    keep(shell.site.store, replace(held, id="ab" * 4, diagnosis=replace(held.diagnosis, hypotheses=(), summary="")))
    settled(shell.site.store, request, Verdict.APPROVED)
    out = shell("show", "ab" * 4)[1]
    assert "cause: the evidence names none" in out
    assert "approved by liam at 2026-11-20 02:13:05 UTC" in out
