"""Whether what was done helped.

In: a closed incident. Out: the action that decides what is learned, and its result.
"""

from __future__ import annotations

from shared.model.action import ActionResult, ActionState
from shared.model.incident import Incident
from shared.records import knowledge


def last_action(incident: Incident) -> ActionResult | None:
    """The action that decides what is learned: the last one done, else the last one tried."""
    done = [item for item in incident.actions if item.state is ActionState.DONE]
    return max(done or incident.actions, key=lambda item: item.at, default=None)


def result_of(incident: Incident, action: ActionResult | None) -> str:
    """Whether an action worked: it was done, and the incident recovered after it."""
    if action is None:
        return knowledge.NO_ACTION
    recovered = incident.resolved_at is not None and incident.resolved_at >= action.at
    quiet = bool(incident.alerts) and not incident.firing and max(a.at for a in incident.alerts) >= action.at
    measured = incident.recovery is not None and incident.recovery.good_since is not None
    worked = action.state is ActionState.DONE and (recovered or measured or quiet) and not incident.cancelled
    return knowledge.WORKED if worked else knowledge.FAILED
