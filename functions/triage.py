"""Triage's triggers: investigations and enrichment.

In: messages. Out: hops; an exception makes the host abandon the message.
"""

from __future__ import annotations

import azure.functions as func

from shared import dispatch, wiring
from shared.model.pipeline import Queue

BUS = "ServiceBusConnection"
blueprint = func.Blueprint()


@blueprint.service_bus_queue_trigger("message", BUS, Queue.INVESTIGATIONS)
def investigations(message: func.ServiceBusMessage) -> None:
    """RCA."""
    dispatch.hop(wiring.app().engine, Queue.INVESTIGATIONS, message.get_body())


@blueprint.service_bus_queue_trigger("message", BUS, Queue.ENRICHMENT)
def enrichment(message: func.ServiceBusMessage) -> None:
    """Enricher, then recommender."""
    dispatch.hop(wiring.app().engine, Queue.ENRICHMENT, message.get_body())
