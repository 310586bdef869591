"""The command `quarantine`: what nobody could work off, and what to do about it.

In: the JSON interface, and a user who signs in like anybody else. Out: tables, bodies, replays, drops.
"""

from __future__ import annotations

import argparse
import json
import re
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from argus.client import Client
from argus.tables import Paper, age, clock, state
from argus.target import Target, Trouble

MOST = 1000
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EXAMPLES = """example: python -m argus quarantine
  python -m argus quarantine show 3f2a91                one entry with its body
  python -m argus quarantine replay 3f2a91 --as olga    send it again
  python -m argus quarantine replay --all --reason bug --as olga
  python -m argus quarantine drop 3f2a91 --why "a test" --as olga"""


def add(whole: argparse.ArgumentParser, where: argparse.ArgumentParser) -> None:
    """Build the command's parsers.

    Args:
        whole: the parser of the command itself.
        where: options that say which ARGUS is meant.
    """
    whole.epilog, whole.formatter_class = _EXAMPLES, argparse.RawDescriptionHelpFormatter
    _listing(whole, argparse.SUPPRESS)
    verbs = whole.add_subparsers(dest="verb", metavar="WHAT")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, parents=[where])

    _listing(verb("list", "list entries; the same as no word at all"), argparse.SUPPRESS)
    show = verb("show", "one entry with its body")
    show.add_argument("id", help="entry id, or the first six or more characters")
    show.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    show.add_argument("--raw", action="store_true", help="only the body")
    replay = verb("replay", "send entries again, one attempt higher")
    replay.add_argument("--again", action="store_true", help="also what was replayed or dropped before")
    drop = verb("drop", "say that entries need nothing more")
    drop.add_argument("--why", required=True, help="goes into the audit trail")
    for acting in (replay, drop):
        acting.add_argument("ids", nargs="*", metavar="ID", help="entry ids, or their beginnings")
        acting.add_argument("--all", action="store_true", dest="everything", help="all that wait and fit the filters")
        acting.add_argument("--as", dest="user", required=True, metavar="USER", help="who you are")
        _filters(acting, argparse.SUPPRESS)


def _listing(parser: argparse.ArgumentParser, unset: Any) -> None:
    parser.add_argument("--json", action="store_true", default=unset, help="as JSON")
    parser.add_argument(
        "--all", action="store_true", dest="settled", default=unset, help="replayed and dropped ones too"
    )
    parser.add_argument("--limit", type=int, default=unset, help="most lines (default: 100)")
    _filters(parser, unset)


def _filters(parser: argparse.ArgumentParser, unset: Any) -> None:
    parser.add_argument("--origin", default=unset, help="only from this queue or source")
    parser.add_argument("--reason", default=unset, help="only with this reason, such as bug or dead_letter")
    parser.add_argument("--since", default=unset, help="only newer than this: 90s, 30m, 2h, 3d, or a time")


def run(client: Client, target: Target, args: Namespace, paper: Paper) -> int:
    """Do what the word after `quarantine` says."""
    match args.verb:
        case "show":
            return _show(client, args, paper)
        case "replay":
            fields = {"again": "yes"} if args.again else {}
            return _act(client, args, paper, "replay", fields)
        case "drop":
            return _act(client, args, paper, "drop", {"why": args.why})
        case _:
            return _list(client, target, args, paper)


def _list(client: Client, target: Target, args: Namespace, paper: Paper) -> int:
    settled = getattr(args, "settled", False)
    query = {"state": "all" if settled else "waiting", "limit": str(getattr(args, "limit", 100)), **_query(args)}
    answer = client.read("/api/quarantine", query)
    if getattr(args, "json", False):
        print(json.dumps(answer, indent=2, ensure_ascii=False), file=paper.out)
        return 0
    if answer["quarantined"]:
        rows = [
            (
                e["id"][:8], age(e["at"]), e["origin"], state(e["reason"]), _state(e), e["subject"][:8] or "-",
                e["kind"] or "-", e["message"],
            )
            for e in answer["quarantined"]
        ]  # fmt: skip
        paper.table(("ID", "AGE", "FROM", "REASON", "STATE", "INCIDENT", "EVENT", "MESSAGE"), rows)
        more = "; there are more, see --limit" if answer["more"] else ""
        paper.line(f"{answer['count']} entries{more}; with its body: `python -m argus quarantine show ID`", "dim")
    else:
        paper.line("quarantine is empty" if settled else "nothing waits in quarantine; --all lists settled entries too")
    _say_what_comes(client, target, paper)
    return 0


def _say_what_comes(client: Client, target: Target, paper: Paper) -> None:
    """Dead letters that the broker of a local stack still has; the conductor collects them every few seconds."""
    if not target.stats:
        return
    try:
        rows = client.get_json(f"{target.stats}/queues")
    except Trouble:
        return
    dead = {str(row["name"]): int(row["dead_letter"]) for row in rows if row.get("dead_letter")}
    if dead:
        names = ", ".join(f"{count} of {name}" for name, count in sorted(dead.items()))
        paper.line(f"dead letters on their way here, within a minute: {names}", "yellow")


def _show(client: Client, args: Namespace, paper: Paper) -> int:
    detail = client.read(f"/api/quarantine/{quote(args.id, safe='')}")
    if getattr(args, "json", False):
        print(json.dumps(detail, indent=2, ensure_ascii=False), file=paper.out)
        return 0
    if args.raw:
        for line in detail["body"].splitlines():
            paper.line(line)
        return 0
    entry = detail["entry"]
    acted = f"{entry['by']} at {clock(entry['acted_at'])} UTC, attempt {entry['attempt']}" if entry["by"] else ""
    paper.facts(
        [
            ("id", entry["id"]),
            ("state", f"{_state(entry)}{': ' + entry['why'] if entry['why'] else ''}"),
            ("by", acted),
            (
                "came",
                f"{clock(entry['at'])} UTC, {age(entry['at'])} ago, from {entry['origin']}, {entry['times']} times",
            ),
            ("reason", state(entry["reason"])),
            ("message", entry["message"]),
            ("event", entry["kind"]),
            ("message id", entry["message_id"]),
            ("deliveries", str(entry["deliveries"] or "")),
            ("incident", entry["subject"]),
            ("replay", f"not possible: {detail['replay']}" if detail["replay"] else "possible"),
            ("body", f"{detail['body_bytes']} bytes{'' if detail['exact'] else ', parts of it hidden'}"),
        ]
    )
    for line in detail["body"].splitlines():
        paper.line(line)
    if detail["cut"]:
        paper.line("the rest is cut; the page has the whole body", "dim")
    return 0


def _act(client: Client, args: Namespace, paper: Paper, verb: str, fields: dict[str, str]) -> int:
    """Replay or drop, one by one; what is done already is said and changes nothing, so it can be repeated."""
    if bool(args.ids) == args.everything:
        raise Trouble(f"say what to {verb}: ids, or --all", "python -m argus quarantine lists what waits")
    client.sign_in(args.user)
    if args.everything:
        return _all(client, args, paper, verb, fields)
    return _each(client, args.ids, paper, verb, fields)


def _all(client: Client, args: Namespace, paper: Paper, verb: str, fields: dict[str, str]) -> int:
    """Everything that waits now; each entry once, also when it comes back while this runs."""
    begun = datetime.now(UTC).isoformat()
    answer = client.read("/api/quarantine", {"state": "waiting", "limit": str(MOST), **_query(args)})
    ids = [entry["id"] for entry in reversed(answer["quarantined"]) if entry["at"] <= begun]  # oldest first, as it was
    if not ids:
        paper.line("nothing waits that fits; nothing done")
        return 0
    code = _each(client, ids, paper, verb, fields)
    if answer["more"]:
        paper.line(f"there are more than {MOST}; run it again for the rest", "yellow")
    return code


def _each(client: Client, ids: list[str], paper: Paper, verb: str, fields: dict[str, str]) -> int:
    changed = failed = 0
    for number, name in enumerate(ids, start=1):
        place = f"{number}/{len(ids)}  " if len(ids) > 1 else ""
        try:
            answer = client.act(f"/api/quarantine/{quote(name, safe='')}/{verb}", fields)
        except Trouble as trouble:
            if len(ids) == 1:
                raise
            failed += 1
            paper.line(f"{place}{name[:8]}  {trouble}: {trouble.hint}", "red")
            continue
        changed += bool(answer["changed"])
        hint = "" if answer["changed"] or verb == "drop" else "; --again sends it once more"
        paper.line(f"{place}{answer['entry']['id'][:8]}  {answer['what']}{hint}")
    if len(ids) > 1:
        done = "replayed" if verb == "replay" else "dropped"
        rest = f", {len(ids) - changed - failed} were so before, {failed} failed"
        paper.line(f"{changed} of {len(ids)} {done}{rest}", "red" if failed else "green")
    return 1 if failed else 0


def _state(entry: dict[str, Any]) -> str:
    return f"{entry['state']} by {entry['by']}" if entry["by"] and entry["state"] != "waiting" else str(entry["state"])


def _query(args: Namespace) -> dict[str, str]:
    given: dict[str, Callable[[str], str]] = {"origin": str, "reason": str, "since": since}
    return {name: read(getattr(args, name)) for name, read in given.items() if getattr(args, name, "")}


def since(text: str, now: datetime | None = None) -> str:
    """A moment as ISO 8601.

    Args:
        text: an age such as ``2h``, or a time, in UTC when it names no zone.

    Raises:
        Trouble: it is neither.
    """
    now = now or datetime.now(UTC)
    match = _AGO.fullmatch(text)
    try:
        if match:
            return (now - timedelta(**{_UNITS[match[2]]: int(match[1])})).isoformat()
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise Trouble(f"--since {text} is no time", "use 90s, 30m, 2h, 3d, or 2026-01-31T23:30:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()
