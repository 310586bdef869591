"""`Source` on the unmodified azure-servicebus SDK.

In: a connection string and a queue. Out: locked messages as `Received`, settled through the same receiver.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, cast

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver

from local.host.messages import Received

IDLE_WAIT_S = 1.0  # a receive call without message returns after this, so that stopping is quick
AT_ONCE_S = 1e-9  # the SDK wants a time above zero; this one is over before it looks, so it takes what is there
SOCKET_TIMEOUT_S = 0.2  # the SDK looks at its deadlines this often; oftener costs CPU for every receiver that waits


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _span(span: timedelta | None) -> str | None:
    if span is None:
        return None
    seconds = int(span.total_seconds())
    if seconds >= 24 * 3600:
        return None  # the library's parser knows hours below 24 only
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _text(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _body(message: ServiceBusReceivedMessage) -> bytes:
    body: Any = message.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    return b"".join(bytes(part) for part in body)


def to_received(message: ServiceBusReceivedMessage) -> Received:
    """Names the SDK's properties as the Functions extension does."""
    own = cast("dict[Any, Any]", message.application_properties or {})
    properties = {
        "MessageId": message.message_id,
        "DeliveryCount": (message.delivery_count or 0) + 1,
        "SequenceNumber": message.sequence_number,
        "EnqueuedSequenceNumber": message.enqueued_sequence_number,
        "EnqueuedTimeUtc": _iso(message.enqueued_time_utc),
        "ExpiresAtUtc": _iso(message.expires_at_utc),
        "LockedUntil": _iso(message.locked_until_utc),
        "LockToken": None if message.lock_token is None else str(message.lock_token),
        "ScheduledEnqueueTimeUtc": _iso(message.scheduled_enqueue_time_utc),
        "TimeToLive": _span(message.time_to_live),
        "ContentType": message.content_type,
        "CorrelationId": message.correlation_id,
        "Subject": message.subject,
        "Label": message.subject,
        "To": message.to,
        "ReplyTo": message.reply_to,
        "ReplyToSessionId": message.reply_to_session_id,
        "PartitionKey": message.partition_key,
        "SessionId": message.session_id,
        "DeadLetterReason": message.dead_letter_reason,
        "DeadLetterErrorDescription": message.dead_letter_error_description,
        "DeadLetterSource": message.dead_letter_source,
        "ApplicationProperties": {str(_text(name)): _text(value) for name, value in own.items()},
    }
    locked_until = message.locked_until_utc or datetime.now(UTC)
    return Received(_body(message), properties, locked_until, message)


@cache
def _certificates() -> ssl.SSLContext:
    """One for all receivers. Without it each loads the whole list when it connects, also without TLS: 20 ms of CPU,
    in which the loop delivers nothing."""
    return ssl.create_default_context()


def _without_second_reader(receiver: ServiceBusReceiver) -> None:
    """Ends the SDK's own look at the connection, which takes messages away from a receive that waits.

    Every 5 s it reads for as long as the socket time-out; a message that comes just then is seen by the receive only
    when its own time-out ends, up to 0.2 s later. The pump receives all the time, or keeps locks, so the connection
    is alive without it. 7.15 has no setting for it; without the attribute messages come late, and a test says so.
    """
    handler = getattr(receiver, "_handler", None)
    if hasattr(handler, "_keep_alive_interval"):
        vars(handler)["_keep_alive_interval"] = float("inf")


class ServiceBusSource:
    """One receiver with a connection of its own; see `Source`."""

    def __init__(self, client: ServiceBusClient, receiver: ServiceBusReceiver) -> None:
        self._client = client
        self._receiver = receiver

    @classmethod
    async def connect(cls, connection_string: str, queue: str, prefetch: int) -> ServiceBusSource:
        """Opens the link, so that a refusal shows here.

        Raises:
            ServiceBusError: the broker is away or refuses.
        """
        client = ServiceBusClient.from_connection_string(
            connection_string,
            retry_total=1,
            retry_backoff_factor=0.1,
            retry_backoff_max=1,
            ssl_context=_certificates(),
        )
        try:
            # Here and not with the client, whose word 7.15 does not pass on.
            receiver = client.get_queue_receiver(queue, prefetch_count=prefetch, socket_timeout=SOCKET_TIMEOUT_S)
            await receiver.__aenter__()
            _without_second_reader(receiver)
        except BaseException:
            await client.close()
            raise
        return cls(client, receiver)

    async def receive(self, limit: int) -> list[Received]:
        """See `Source`."""
        messages = await self._receiver.receive_messages(max_message_count=1, max_wait_time=IDLE_WAIT_S)
        if messages and limit > 1:  # those that were locked ahead; nothing is asked of the broker
            messages += await self._receiver.receive_messages(max_message_count=limit - 1, max_wait_time=AT_ONCE_S)
        return [to_received(message) for message in messages]

    async def complete(self, message: Received) -> None:
        """See `Source`."""
        await self._receiver.complete_message(cast(ServiceBusReceivedMessage, message.handle))

    async def abandon(self, message: Received) -> None:
        """See `Source`."""
        await self._receiver.abandon_message(cast(ServiceBusReceivedMessage, message.handle))

    async def renew(self, message: Received) -> datetime:
        """See `Source`."""
        return await self._receiver.renew_message_lock(cast(ServiceBusReceivedMessage, message.handle))

    async def close(self) -> None:
        """See `Source`."""
        await self._receiver.close()
        await self._client.close()
