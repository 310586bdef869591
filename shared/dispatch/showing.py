"""One log record per hop, for people who watch live and for queries by field.

In: what a micro-agent did, and why. Out: a record named ``hop`` of the logger ``argus.dispatch``.
"""

from __future__ import annotations

import logging

from shared.model.pipeline import MicroAgent

log = logging.getLogger("argus.dispatch")


def show(micro_agent: MicroAgent, what: str, why: str, incident_id: str, state: str = "") -> None:
    """One log record per hop, for people who watch live and for queries by field."""
    log.info(
        "hop",
        extra={"micro_agent": str(micro_agent), "what": what, "why": why, "incident": incident_id, "state": state},
    )
