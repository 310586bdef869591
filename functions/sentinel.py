"""Sentinel's triggers: signals, incidents, notifications, tickets, and the timer that polls."""

from __future__ import annotations

from datetime import UTC, datetime

import azure.functions as func

from shared import dispatch, wiring
from shared.model.pipeline import Queue

BUS = "ServiceBusConnection"
blueprint = func.Blueprint()


@blueprint.service_bus_queue_trigger("messages", BUS, Queue.SIGNALS, cardinality=func.Cardinality.MANY)
def signals(messages: list[func.ServiceBusMessage]) -> None:
    """Evaluator and alert router: a batch, many incidents or none."""
    dispatch.signals(wiring.app().engine, [message.get_body() for message in messages])


@blueprint.service_bus_queue_trigger("message", BUS, Queue.INCIDENTS)
def incidents(message: func.ServiceBusMessage) -> None:
    """Incident creator."""
    dispatch.hop(wiring.app().engine, Queue.INCIDENTS, message.get_body())


@blueprint.service_bus_queue_trigger("message", BUS, Queue.NOTIFICATIONS)
def notifications(message: func.ServiceBusMessage) -> None:
    """Notifier."""
    dispatch.hop(wiring.app().engine, Queue.NOTIFICATIONS, message.get_body())


@blueprint.service_bus_queue_trigger("message", BUS, Queue.TICKETS)
def tickets(message: func.ServiceBusMessage) -> None:
    """Ticket writer."""
    dispatch.hop(wiring.app().engine, Queue.TICKETS, message.get_body())


@blueprint.timer_trigger("timer", "%ARGUS_POLL_SCHEDULE%")
def poll(timer: func.TimerRequest) -> None:
    """Collector, asking the targets that do not speak by themselves."""
    dispatch.poll(wiring.app().engine, "poll", datetime.now(UTC).replace(microsecond=0))
