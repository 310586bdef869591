"""How long things may take before ARGUS says that it is not well; the configuration can set each of them.

In: nothing. Out: seconds, by timer and by queue.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.model.pipeline import Queue

# How long after its last run a timer is late; longer than any schedule that makes sense for it.
TIMER_LATE_S: Mapping[str, float] = {
    "poll": 300.0,
    "sweep": 300.0,
    "watch": 300.0,
    "brake": 300.0,
    "dead_letters": 300.0,
    "anchor": 3600.0,
    "purge": 2 * 86_400.0,
}
# People wait for what comes first in the pipeline; a document may take half an hour.
QUEUE_AGE_S: Mapping[Queue, float] = {
    Queue.SIGNALS: 120.0,
    Queue.INCIDENTS: 120.0,
    Queue.NOTIFICATIONS: 300.0,
    Queue.TICKETS: 600.0,
    Queue.INVESTIGATIONS: 300.0,
    Queue.ENRICHMENT: 300.0,
    Queue.APPROVALS: 300.0,
    Queue.DECISIONS: 120.0,
    Queue.ACTIONS: 300.0,
    Queue.TICKET_UPDATES: 600.0,
    Queue.CLOSING: 600.0,
    Queue.KNOWLEDGE: 1800.0,
}
