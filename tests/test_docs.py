"""What the documentation says is there: links, commands, targets, names, limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argus import cli
from local import __main__ as stack
from local.servicebus import __main__ as broker
from local.servicebus import limits
from local.servicebus.settings import QueueSettings
from shared.model.pipeline import Agent, MicroAgent, Queue, Role
from shared.ports.store import Table

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"```.*?```", re.DOTALL)


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
class TestEveryPage:
    def test_links_lead_somewhere(self, page: Path) -> None:
        dead = []
        for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            found = (page.parent / name).resolve() if name else page
            if not found.exists() or (anchor and anchor not in _anchors(found)):
                dead.append(target)
        assert not dead

    def test_it_begins_with_its_title(self, page: Path) -> None:
        lines = [line for line in page.read_text("utf-8").splitlines() if line and not line.startswith("<!--")]
        assert lines[0].startswith("# ")

    def test_commands_and_targets_exist(self, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = page.read_text("utf-8")
        targets = set(re.findall(r"^([a-z][a-z0-9-]*):", _text("Makefile"), re.MULTILINE))
        assert set(re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", text, re.MULTILINE)) <= targets
        with pytest.raises(SystemExit):
            stack.main(["--help"])
        own = set(re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))
        assert set(re.findall(r"python -m local ([a-z]+)", text)) <= own
        for command in set(re.findall(r"python -m argus ([a-z]+)", text)):
            with pytest.raises(SystemExit) as ended:
                cli.parser().parse_args([command, "--help"])
            assert ended.value.code == 0, command


@pytest.mark.parametrize("name", ["docs/architecture.md", "docs/pipeline.md"])
def test_every_micro_agent_queue_and_role_is_named(name: str) -> None:
    text = _text(name)
    missing = [word for word in (*MicroAgent, *Queue, *Role) if not _has(text, str(word))]
    assert not missing


def test_the_readme_names_every_micro_agent() -> None:
    assert not [name for name in MicroAgent if not _has(_text("README.md"), str(name))]


def test_the_architecture_names_agents_tables_and_runbooks() -> None:
    text = _text("docs/architecture.md")
    runbooks = [re.search(r"^id: (\S+)$", path.read_text("utf-8"), re.MULTILINE) for path in sorted(_runbooks())]
    names = [str(name) for name in (*Agent, *Table)] + [found[1] for found in runbooks if found]
    assert len(runbooks) == len(list(_runbooks()))
    assert not [name for name in names if not _has(text, name)]


def _runbooks() -> list[Path]:
    return sorted((ROOT / "runbooks").glob("*.md"))


def test_the_brokers_page_tells_its_options_settings_and_limits() -> None:
    text = _text("docs/broker.md")
    options = {option for action in broker._parser()._actions for option in action.option_strings}
    assert not [option for option in options - {"-h", "--help"} if option not in text]
    assert not [field for field in QueueSettings.__dataclass_fields__ if field not in text]
    told = {
        f"{limits.MAX_MESSAGE_BYTES // 1024} KB", f"{limits.MAX_MESSAGE_ID_CHARS} characters",
        f"{limits.MAX_QUEUE_NAME_CHARS} characters", f"{limits.MIN_LOCK_S} s to {limits.MAX_LOCK_S // 60} min",
        f"{limits.MIN_DELIVERY_COUNT} to {limits.MAX_DELIVERY_COUNT}",
        f"{limits.MIN_DEDUP_WINDOW_S} s to {limits.MAX_DEDUP_WINDOW_S // 86_400} days",
        f"{limits.MIN_TTL_S} s at least",
        f"frame {limits.MAX_FRAME_BYTES // 1024} KiB", f"credit {limits.LINK_CREDIT} messages",
        f"silence {2 * limits.IDLE_TIMEOUT_MS // 60_000} min", f"({limits.DEFAULT_LOCK_S})",
        f"({limits.DEFAULT_DELIVERY_COUNT})", f"({limits.DEFAULT_DEDUP_WINDOW_S};",
    }  # fmt: skip
    assert not [words for words in told if words not in text]


def test_decisions_are_numbered_without_a_gap_and_say_what_they_cost() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert [part for part in ("**Context.**", "**Choice.**", "**Cost.**") if part not in text] == []
