"""Looking at Azure Service Bus through the unmodified SDK: signs of life, ages of queues, dead letters.

In: queue names. Out: their state. Source: learn.microsoft.com/azure/service-bus-messaging/message-browsing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from pydantic import SecretStr

from shared.model.errors import Reason, TransientError
from shared.model.pipeline import Queue
from shared.ports.queue_watch import QueueState

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage, ServiceBusReceiver

    Peeked = list[ServiceBusReceivedMessage]

T = TypeVar("T")
PEEK_TIMEOUT_S = 5.0
SOCKET_TIMEOUT_S = 0.05  # the SDK looks at its deadlines this often
PAGE = 64
MOST_PAGES = 4  # a peek shows what is scheduled as well; so many of those hide an older message for one round only


class ServiceBusQueueWatch:
    """One client for looking; its receivers stay open: opening one takes a second, asking it a millisecond.

    A receiver that only peeks has no credit (7.15 gives it with the first receive), so it is never given a message; a
    test sees it when that changes, since a watch that locks messages would use up their deliveries.
    """

    def __init__(self, connection: SecretStr) -> None:
        self._connection = connection
        self._client: ServiceBusClient | None = None
        self._receivers: dict[tuple[Queue, bool], ServiceBusReceiver] = {}
        self._locks = {queue: threading.Lock() for queue in Queue}
        self._opening = threading.Lock()

    def reach(self) -> None:
        """See `shared.ports.queue_watch`. An identity that may only send opens a link for it, which is slow."""
        from azure.servicebus.exceptions import ServiceBusAuthorizationError

        try:
            self._asked(Queue.SIGNALS, lambda: self._peek(Queue.SIGNALS, False, 1))
        except TransientError as error:
            if not isinstance(error.__cause__, ServiceBusAuthorizationError):
                raise
            self._open_a_sender()

    def look(self, queue: Queue) -> QueueState:
        """See `shared.ports.queue_watch`."""

        def both() -> tuple[Peeked, Peeked]:
            return self._peek(queue, False, MOST_PAGES), self._peek(queue, True, 1)

        waiting, dead = self._asked(queue, both)
        now = datetime.now(UTC)
        return QueueState(queue, _oldest(waiting, now), len(dead), _oldest(dead, now))

    def _asked(self, queue: Queue, ask: Callable[[], T]) -> T:
        """The answer; a link that was closed meanwhile, as idle ones are, is opened again once."""
        from azure.core.exceptions import AzureError
        from azure.servicebus.exceptions import ServiceBusError

        with self._locks[queue]:
            try:
                return ask()
            except (ServiceBusError, AzureError, OSError, ValueError):
                self._forget(queue)
            try:
                return ask()
            except (ServiceBusError, AzureError, OSError, ValueError) as error:
                self._forget(queue)
                raise TransientError(f"Service Bus: {type(error).__name__}", Reason.UNAVAILABLE) from error

    def _open_a_sender(self) -> None:
        from azure.core.exceptions import AzureError
        from azure.servicebus.exceptions import ServiceBusError

        client = self._new()
        try:
            with client.get_queue_sender(str(Queue.SIGNALS)):
                pass
        except (ServiceBusError, AzureError, OSError, ValueError) as error:
            raise TransientError(f"Service Bus: {type(error).__name__}", Reason.UNAVAILABLE) from None
        finally:
            _close(client)

    def close(self) -> None:
        """Close every connection."""
        with self._opening:
            client, self._client = self._client, None
            self._receivers.clear()
        if client is not None:
            client.close()

    def _peek(self, queue: Queue, dead: bool, pages: int) -> Peeked:
        """The first messages by their number, until one of them is waiting."""
        receiver = self._receiver(queue, dead)
        found: list[ServiceBusReceivedMessage] = []
        number = 1
        for _ in range(pages):
            page = receiver.peek_messages(PAGE, sequence_number=number, timeout=PEEK_TIMEOUT_S)
            found += page
            if not page or any(_waits(message) for message in page):
                break
            number = (page[-1].sequence_number or 0) + 1
        return found

    def _receiver(self, queue: Queue, dead: bool) -> ServiceBusReceiver:
        from azure.servicebus import ServiceBusSubQueue

        with self._opening:
            self._client = self._client or self._new()
            receiver = self._receivers.get((queue, dead))
            if receiver is None:
                sub = ServiceBusSubQueue.DEAD_LETTER if dead else None
                receiver = self._client.get_queue_receiver(str(queue), sub_queue=sub)
                self._receivers[queue, dead] = receiver
        return receiver

    def _new(self) -> ServiceBusClient:
        from azure.servicebus import ServiceBusClient

        return ServiceBusClient.from_connection_string(
            self._connection.get_secret_value(), retry_total=0, socket_timeout=SOCKET_TIMEOUT_S
        )

    def _forget(self, queue: Queue) -> None:
        with self._opening:
            gone = [self._receivers.pop((queue, dead), None) for dead in (False, True)]
        for receiver in gone:
            if receiver is not None:
                _close(receiver)


def _close(opened: ServiceBusClient | ServiceBusReceiver) -> None:
    """Close something in a thread of its own: a connection that hangs may take its time."""
    threading.Thread(target=opened.close, name="close-queue-watch", daemon=True).start()


def _waits(message: ServiceBusReceivedMessage) -> bool:
    from azure.servicebus import ServiceBusMessageState

    return message.state is ServiceBusMessageState.ACTIVE


def _oldest(messages: Sequence[ServiceBusReceivedMessage], now: datetime) -> datetime | None:
    times = [message.enqueued_time_utc or now for message in messages if _waits(message)]
    return min((at.astimezone(UTC) for at in times), default=None)
