"""Sentinel's triggers: signals, incidents, notifications, tickets, and the timer that polls.

In: messages and timer ticks. Out: hops; an exception makes the host abandon the message.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import azure.functions as func

from shared import dispatch, wiring
from shared.model.pipeline import Queue

BUS = "ServiceBusConnection"
FRESH = timedelta(minutes=2)  # a run that is later than this measures now, whatever it was due for
blueprint = func.Blueprint()


@blueprint.service_bus_queue_trigger("messages", BUS, Queue.SIGNALS, cardinality=func.Cardinality.MANY)
def signals(messages: list[func.ServiceBusMessage]) -> None:
    """Evaluator and alert router: a batch, many incidents or none."""
    dispatch.signals(wiring.app().engine, [message.get_body() for message in messages])


@blueprint.service_bus_queue_trigger("messages", BUS, Queue.INCIDENTS, cardinality=func.Cardinality.MANY)
def incidents(messages: list[func.ServiceBusMessage]) -> None:
    """Incident creator: a batch, one commit for each incident."""
    dispatch.hop_many(wiring.app().engine, Queue.INCIDENTS, [message.get_body() for message in messages])


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
    dispatch.poll(wiring.app().engine, "poll", due(timer, datetime.now(UTC)))


def due(timer: func.TimerRequest, now: datetime) -> datetime:
    """The occurrence a timer run stands for; the same after a crash, so the ids made of it are, too (rule M2).

    Args:
        now: aware; taken when the host says nothing usable, or the run is overdue: what is measured is measured now.
    """
    now = now.replace(microsecond=0)
    try:
        said = datetime.fromisoformat(str((getattr(timer, "schedule_status", None) or {}).get("Next", "")))
    except ValueError:
        return now
    plausible = said.tzinfo is not None and not timer.past_due and timedelta(0) <= now - said < FRESH
    return said if plausible else now
