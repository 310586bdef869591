"""The hop: every message of every queue goes through here, and nothing else commits.

In: a message body from a queue. Out: one committed transaction and sent events, a retry, or a quarantine row
(PROTOCOL, rules M1 to M5, H1 to H12, S1).
"""

from shared.dispatch.batch import signals
from shared.dispatch.engine import Create, Engine, Handle, Worker
from shared.dispatch.hop import hop
from shared.dispatch.rounds import poll, receive, tidy

__all__ = ["Create", "Engine", "Handle", "Worker", "hop", "poll", "receive", "signals", "tidy"]
