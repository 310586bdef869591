"""Executor's trigger: one queue in, no HTTP; the only identity that may change a workload.

In: approved actions. Out: hops; an exception makes the host abandon the message.
"""

from __future__ import annotations

import azure.functions as func

from shared import dispatch, wiring
from shared.model.pipeline import Queue

BUS = "ServiceBusConnection"
blueprint = func.Blueprint()


@blueprint.service_bus_queue_trigger("message", BUS, Queue.ACTIONS)
def actions(message: func.ServiceBusMessage) -> None:
    """Executor."""
    dispatch.hop(wiring.app().engine, Queue.ACTIONS, message.get_body())
