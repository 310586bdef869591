"""Azure Service Bus, through the unmodified SDK; the local broker speaks the same protocol.

In: messages. Out: accepted messages. Source: learn.microsoft.com/python/api/azure-servicebus.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr

from shared.model.errors import PermanentError, Reason, TransientError
from shared.model.pipeline import Queue
from shared.ports.bus import Message

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSender

log = logging.getLogger("argus.bus")
MAX_BATCH_BYTES = 224 * 1024  # of 256 KB: learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas
AROUND_BYTES = 512  # ids, properties and frames of one message, generously
SEND_TIMEOUT_S = 3.0  # the edge gives up after 3 s and answers 503 (ARCHITECTURE, section 7)
# The SDK's keeper of idle links reads for this long, and a send just then waits for it. In Azure the SDK's own 0.2 s
# stays: it is the time a large write may take as well.
LOOPBACK_SOCKET_S = 0.05
EMULATOR = "UseDevelopmentEmulator=true"  # what a connection string to this machine says


class ServiceBusBus:
    """One connection, one sender per queue; the SDK's senders are not thread-safe, so each has a lock."""

    def __init__(self, connection: SecretStr) -> None:
        self._connection = connection
        self._client: ServiceBusClient | None = None
        self._senders: dict[Queue, ServiceBusSender] = {}
        self._locks = {queue: threading.Lock() for queue in Queue}
        self._opening = threading.Lock()

    def send(self, queue: Queue, messages: Sequence[Message]) -> None:
        """See `shared.ports.bus`. As many as fit go in one batch, in order.

        A broken link is opened again once; duplicate detection drops what arrived twice.
        """
        with self._locks[queue]:
            for together in fitting(messages):
                self._send_batch(queue, [_prepare(message) for message in together])

    def _send_batch(self, queue: Queue, prepared: list[ServiceBusMessage]) -> None:
        from azure.core.exceptions import AzureError
        from azure.servicebus.exceptions import MessageSizeExceededError, ServiceBusError

        for attempt in (1, 2):
            try:
                self._sender(queue).send_messages(prepared, timeout=SEND_TIMEOUT_S)
            except MessageSizeExceededError:
                raise PermanentError("the message is larger than the bus takes", Reason.TOO_LARGE) from None
            except (ServiceBusError, AzureError, OSError, ValueError) as error:
                self._forget(queue)
                if attempt == 2:
                    kind = type(error).__name__
                    raise TransientError(f"Service Bus: {kind}", Reason.UNAVAILABLE, sent=None) from None
                continue
            return

    def open(self, queues: Iterable[Queue]) -> None:
        """Open links ahead of their first message, which would wait half a second; one that fails is left to it."""
        from azure.core.exceptions import AzureError
        from azure.servicebus.exceptions import ServiceBusError

        for queue in queues:
            with self._locks[queue]:
                try:
                    self._sender(queue).__enter__()
                except (ServiceBusError, AzureError, OSError, ValueError) as error:
                    log.debug("the link to %s is opened with its first message: %s", queue, type(error).__name__)
                    self._forget(queue)

    def close(self) -> None:
        """Close every link."""
        for queue in list(self._senders):
            self._senders.pop(queue).close()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _sender(self, queue: Queue) -> ServiceBusSender:
        sender = self._senders.get(queue)
        if sender is None:
            near = EMULATOR in self._connection.get_secret_value()
            sender = self._opened().get_queue_sender(str(queue), socket_timeout=LOOPBACK_SOCKET_S if near else None)
            self._senders[queue] = sender
        return sender

    def _opened(self) -> ServiceBusClient:
        from azure.servicebus import ServiceBusClient

        with self._opening:
            if self._client is None:
                self._client = ServiceBusClient.from_connection_string(
                    self._connection.get_secret_value(), retry_total=0
                )
            return self._client

    def _forget(self, queue: Queue) -> None:
        sender = self._senders.pop(queue, None)
        if sender is not None:
            threading.Thread(target=sender.close, name="close-sender", daemon=True).start()


def fitting(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Messages in runs that fit into one batch each; one that is large alone is a run of its own."""
    run: list[Message] = []
    size = 0
    for message in messages:
        weight = len(message.body) + AROUND_BYTES
        if run and size + weight > MAX_BATCH_BYTES:
            yield run
            run, size = [], 0
        run.append(message)
        size += weight
    if run:
        yield run


def _prepare(message: Message) -> ServiceBusMessage:
    from azure.servicebus import ServiceBusMessage

    return ServiceBusMessage(
        message.body,
        message_id=message.message_id,
        content_type="application/cloudevents+json",
        subject=message.subject or None,
        scheduled_enqueue_time_utc=message.not_before,
        time_to_live=message.kept_for,
        application_properties={"traceparent": message.traceparent} if message.traceparent else None,
    )
