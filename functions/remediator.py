"""Remediator's triggers: approvals, decisions, ticket updates, closing, and the durable wait for people.

In: messages, and episodes of the wait. Out: hops; an exception makes the host abandon the message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from shared import dispatch, wiring
from shared.adapters.waits import durable
from shared.agents.remediator import solicitor
from shared.model import codec
from shared.model.pipeline import Queue
from shared.records import approvals

BUS = "ServiceBusConnection"
blueprint = df.Blueprint()


async def _with_waits(queue: Queue, message: func.ServiceBusMessage, client: Any) -> None:
    waits = durable.DurableWaits(client, asyncio.get_running_loop())
    await asyncio.to_thread(dispatch.hop, wiring.app().engine_with(waits), queue, message.get_body())


@blueprint.service_bus_queue_trigger("message", BUS, Queue.APPROVALS)
@blueprint.durable_client_input(client_name="client")
async def approval_requests(message: func.ServiceBusMessage, client: Any) -> None:
    """Solicitor: starts the wait."""
    await _with_waits(Queue.APPROVALS, message, client)


@blueprint.service_bus_queue_trigger("message", BUS, Queue.DECISIONS)
@blueprint.durable_client_input(client_name="client")
async def decisions(message: func.ServiceBusMessage, client: Any) -> None:
    """Solicitor: ends the wait."""
    await _with_waits(Queue.DECISIONS, message, client)


@blueprint.service_bus_queue_trigger("message", BUS, Queue.TICKET_UPDATES)
def ticket_updates(message: func.ServiceBusMessage) -> None:
    """Ticket updater."""
    dispatch.hop(wiring.app().engine, Queue.TICKET_UPDATES, message.get_body())


@blueprint.service_bus_queue_trigger("message", BUS, Queue.CLOSING)
def closing(message: func.ServiceBusMessage) -> None:
    """Closer."""
    dispatch.hop(wiring.app().engine, Queue.CLOSING, message.get_body())


@blueprint.orchestration_trigger(context_name="context")
def approval_wait(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """Waits for people as long as it takes."""
    return (yield from durable.orchestrate(context, solicitor.wait))


@blueprint.activity_trigger(input_name="given")
def look_at_approval(given: dict[str, str]) -> dict[str, Any]:
    """Reads the votes, and writes the decision when there is one."""
    ports, now = wiring.app().engine.ports, wiring.utc_now()
    poll = timedelta(seconds=ports.settings.approvals.poll_s)
    looked = solicitor.look(ports.store, given["approval_id"], poll, now)
    # Also as a length: who waits has another clock than who looked, and either may be set meanwhile.
    wait_s = max((looked.wake_at - now).total_seconds(), 0.0)
    wake_at = looked.wake_at.isoformat()
    return {"decided": looked.decided, "wake_at": wake_at, "wait_s": wait_s, "incident_id": looked.incident_id}


@blueprint.activity_trigger(input_name="given")
def enact_decision(given: dict[str, str]) -> str:
    """Carries the decision into the incident; a hop of its own (rule D3)."""
    engine = wiring.app().engine
    approval_id, incident_id = given["approval_id"], given.get("incident_id", "")
    if not incident_id:  # a wait from before the look told it
        request = approvals.request_of(engine.ports.store, approval_id)
        incident_id = request.incident_id if request is not None else ""
    if incident_id:
        event = solicitor.decided_event(approval_id, incident_id, wiring.utc_now())
        dispatch.hop(engine, Queue.DECISIONS, codec.encode_event(event))
    return approval_id
