"""Chronicler's trigger: knowledge.

In: messages about closed incidents. Out: hops; an exception makes the host abandon the message.
"""

from __future__ import annotations

import azure.functions as func

from shared import dispatch, wiring
from shared.model.pipeline import Queue

BUS = "ServiceBusConnection"
blueprint = func.Blueprint()


@blueprint.service_bus_queue_trigger("message", BUS, Queue.KNOWLEDGE)
def knowledge(message: func.ServiceBusMessage) -> None:
    """Aggregator, then doc writer, then publisher."""
    dispatch.hop(wiring.app().engine, Queue.KNOWLEDGE, message.get_body())
