"""The hop: every message of every queue goes through here, and nothing else commits.

In: a message body from a queue. Out: one committed transaction and sent events, a retry, or a quarantine row
(PROTOCOL, rules M1 to M5, H1 to H12, S1).
"""

from shared.dispatch.beating import beats, watch
from shared.dispatch.braking import work_off
from shared.dispatch.engine import Create, Engine, Handle, Worker
from shared.dispatch.hop import hop
from shared.dispatch.merged import hop_many
from shared.dispatch.rounds import collect_dead_letters, poll, receive, tidy
from shared.dispatch.straight import signals
from shared.dispatch.upkeep import anchor, purge

__all__ = [
    "Create", "Engine", "Handle", "Worker", "anchor", "beats", "collect_dead_letters", "hop", "hop_many", "poll",
    "purge", "receive", "signals", "tidy", "watch", "work_off",
]  # fmt: skip
