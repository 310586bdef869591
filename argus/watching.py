"""What ARGUS knows about itself, as tables: heartbeats, queues, and what waits for people.

In: the JSON of `/api/status`. Out: tables, and whether all is well.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from argus.client import Client
from argus.tables import Paper
from shared.portal.words import ago, left, span


def itself(client: Client, paper: Paper, now: datetime | None = None) -> bool:
    """Show how ARGUS itself is.

    Returns:
        False when something of it does not work, or nobody watches it any more.

    Raises:
        Trouble: it cannot be read.
    """
    view, now = client.read("/api/status"), now or datetime.now(UTC)
    paper.line()
    paper.table(("HEARTBEAT", "STATE", "LAST", "FAILED", "WHY"), [_beat(beat, now) for beat in _beats(view)])
    paper.line()
    paper.table(("QUEUE", "STATE", "OLDEST", "ALLOWED", "DEAD"), [_queue(queue) for queue in view["queues"]])
    seen = f"looked {_ago(view['seen_at'], now)}" if view["seen_at"] else "it looks within a minute of a start"
    paper.line()
    paper.line(f"watch: {view['watch']}, {seen}", {"ok": "", "never": "yellow"}.get(view["watch"], "red"))
    paper.line(f"dead letters: {view['dead_letters']} in quarantine", "yellow" if view["dead_letters"] else "")
    for line in view["approvals"]:
        asked = line["approval"]
        style = "red" if line["expiring"] else "yellow"
        votes = f"{asked['votes']} votes" if asked["votes"] else "no vote"
        when = left(datetime.fromisoformat(asked["deadline"]), now)
        paper.line(f"approval {asked['approval_id'][:8]}: {asked['title']}; {when}, {votes}", style)
    for held in view["held"]:
        until = f"until {held['until'][:16].replace('T', ' ')} UTC"
        paper.line(f"held for {held['incident_id'][:8]}: {held['reason']}; {until}", "yellow")
    for problem in view["problems"]:
        since = _ago(problem["since"], now)
        paper.line(f"{problem['severity']} {problem['title']} ({since}): {problem['text']}", "red")
    if view["unknown"]:
        paper.line(f"not seen: {', '.join(view['unknown'])}", "yellow")
    return view["watch"] in ("ok", "never") and not view["problems"]


def _beats(view: dict[str, Any]) -> list[dict[str, Any]]:
    return [*({**timer, "name": f"timer {timer['name']}"} for timer in view["timers"]), *view["parts"]]


def _beat(beat: dict[str, Any], now: datetime) -> tuple[str, ...]:
    last = _ago(beat["last_at"], now) if beat["last_at"] else "-"
    return beat["name"], beat["state"], last, str(beat["failures"]), beat["why"]


def _queue(queue: dict[str, Any]) -> tuple[str, ...]:
    oldest = span(timedelta(seconds=queue["oldest_s"])) if queue["oldest_s"] else "-"
    allowed = span(timedelta(seconds=queue["limit_s"])) if queue["limit_s"] else "-"
    return queue["name"], queue["state"], oldest, allowed, str(queue["dead"])


def _ago(text: str, now: datetime) -> str:
    return ago(datetime.fromisoformat(text), now)
