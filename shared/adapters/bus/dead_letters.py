"""Dead letters of Azure Service Bus, through the unmodified SDK; the local broker speaks the same protocol.

In: a queue. Out: what its dead-letter sub-queue holds. Source: learn.microsoft.com/azure/service-bus-messaging/
service-bus-dead-letter-queues.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from shared.model.errors import Reason, TransientError
from shared.model.pipeline import Queue
from shared.ports.dead_letters import DeadLetter

if TYPE_CHECKING:
    from azure.servicebus import ServiceBusClient, ServiceBusReceivedMessage, ServiceBusReceiver

WAIT_S = 0.4  # an empty queue costs a round this long; a letter that is there comes with the first answer
OPEN_S = 10.0
BATCH = 20
SOCKET_TIMEOUT_S = 0.05  # the SDK looks at its deadlines this often


class ServiceBusDeadLetters:
    """One connection, one receiver per queue; they stay open, since opening one takes ten times as long as asking it.

    Between two calls nothing is locked: the SDK releases what arrives while nobody receives.
    """

    def __init__(self, connection: SecretStr) -> None:
        self._connection = connection
        self._client: ServiceBusClient | None = None
        self._receivers: dict[Queue, ServiceBusReceiver] = {}
        self._one_at_a_time = threading.Lock()

    def collect(self, queue: Queue, keep: Callable[[DeadLetter], None], most: int) -> int:
        """See `shared.ports.dead_letters`."""
        from azure.core.exceptions import AzureError
        from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError

        kept = 0
        with self._one_at_a_time:
            try:
                receiver = self._receiver(queue)
                while kept < most:
                    wanted = min(BATCH, most - kept)
                    messages = receiver.receive_messages(max_message_count=wanted, max_wait_time=WAIT_S)
                    for number, message in enumerate(messages):
                        try:
                            keep(_letter(queue, message))
                        except BaseException:
                            _give_back(receiver, messages[number:])
                            raise
                        with contextlib.suppress(MessageLockLostError):  # it comes again, and is known by then
                            receiver.complete_message(message)
                        kept += 1
                    if not messages:
                        break
            except (ServiceBusError, AzureError, OSError, ValueError) as error:
                self._forget()
                kind = type(error).__name__
                raise TransientError(f"dead letters of {queue}: {kind}", Reason.UNAVAILABLE, sent=None) from None
        return kept

    def close(self) -> None:
        """Close every link."""
        with self._one_at_a_time:
            self._forget()

    def _receiver(self, queue: Queue) -> ServiceBusReceiver:
        from azure.servicebus import ServiceBusClient, ServiceBusSubQueue

        if self._client is None:
            self._client = ServiceBusClient.from_connection_string(
                self._connection.get_secret_value(), retry_total=0, socket_timeout=SOCKET_TIMEOUT_S
            )
        receiver = self._receivers.get(queue)
        if receiver is None:
            receiver = self._client.get_queue_receiver(str(queue), sub_queue=ServiceBusSubQueue.DEAD_LETTER)
            self._receivers[queue] = receiver
            receiver.__enter__()  # opens the link now, so that the wait above is spent on messages
        return receiver

    def _forget(self) -> None:
        client, self._client = self._client, None
        self._receivers.clear()
        if client is not None:
            threading.Thread(target=client.close, name="close-dead-letters", daemon=True).start()


def _give_back(receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]) -> None:
    """What was not kept can be received again at once; where that fails, when its lock ends."""
    from azure.servicebus.exceptions import ServiceBusError

    with contextlib.suppress(ServiceBusError, OSError, ValueError):
        for message in messages:
            receiver.abandon_message(message)


def _letter(queue: Queue, message: ServiceBusReceivedMessage) -> DeadLetter:
    body, whole = _body(message)
    return DeadLetter(
        queue=queue,
        sequence=message.sequence_number or 0,
        message_id=message.message_id or "",
        body=body,
        whole=whole,
        reason=message.dead_letter_reason or "",
        description=message.dead_letter_error_description or "",
        deliveries=message.delivery_count or 0,
        enqueued_at=(message.enqueued_time_utc or datetime.now(UTC)).astimezone(UTC),
    )


def _body(message: ServiceBusReceivedMessage) -> tuple[bytes, bool]:
    """The bytes of a message; one that carries AMQP values instead is described in words."""
    from azure.servicebus.amqp import AmqpMessageBodyType

    if message.body_type is AmqpMessageBodyType.DATA:
        return b"".join(bytes(part) for part in message.body), True
    value = list(message.body) if message.body_type is AmqpMessageBodyType.SEQUENCE else message.body
    if isinstance(value, str | bytes):  # the SDK reads a text as bytes
        return value if isinstance(value, bytes) else value.encode("utf-8", "replace"), True
    return repr(value).encode("utf-8", "replace"), False  # maps of AMQP have keys of any type, which JSON has not
