"""The command `send`: post a webhook body, as the monitoring system would.

In: a file, standard input, or a sample. Out: the receipt.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

from argus.client import Client
from argus.tables import Paper
from argus.target import Trouble
from shared.model.errors import PermanentError


def send(client: Client, args: Namespace, paper: Paper) -> int:
    """Send one body."""
    answer = client.signal(args.source, _body(args))
    signals = int(answer.get("signals", 0))
    known = "" if answer.get("recognised", True) else "; nobody knows this shape, so it is listed as it is"
    paper.line(f"accepted: {signals} {'signal' if signals == 1 else 'signals'}, receipt {answer.get('receipt')}{known}")
    return 0


def _body(args: Namespace) -> bytes:
    if args.sample == (args.file is not None):
        raise Trouble("say what to send", "give a FILE, - for standard input, or --sample; one of them")
    if args.sample:
        from shared.adapters.sources.samples import sample  # only this command needs the sources

        try:
            return sample(args.source, datetime.now(UTC), args.service, args.resolved)
        except PermanentError as exc:
            raise Trouble(str(exc)) from exc
    if args.file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(args.file).read_bytes()
    except OSError as exc:
        raise Trouble(f"{args.file} cannot be read: {exc.strerror}") from exc
