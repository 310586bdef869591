"""What an AMQP address means to the broker.

In: the address of a source or target, or the URI in a token. Out: ``Address``, or ``AmqpError``.
"""

from dataclasses import dataclass
from enum import StrEnum

from local.servicebus.errors import AmqpError, Condition


class Kind(StrEnum):
    """What stands at an address."""

    QUEUE = "queue"
    MANAGEMENT = "$management"
    CBS = "$cbs"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; ``queue`` is lower case and empty for ``$cbs``; ``path`` is what a token must cover."""

    kind: Kind
    path: str
    queue: str = ""
    dead_letter: bool = False


def path_of(uri: str) -> str:
    """The path of an address or URI, lower case, without scheme, authority and outer slashes."""
    _, found, rest = uri.partition("://")
    path = rest.partition("/")[2] if found else uri
    return path.strip("/").lower()


def parse_address(text: str) -> Address:
    """Read an address such as ``amqps://localhost:5672/jobs/$DeadLetterQueue`` or ``jobs/$management``.

    Raises:
        AmqpError: not-implemented for subscriptions and transfer dead-letter queues.
    """
    path = path_of(text)
    if path == Kind.CBS:
        return Address(Kind.CBS, path)
    parts = path.split("/")
    if "subscriptions" in parts[1:] or "$transfer" in parts:
        what = "a transfer dead-letter queue" if "$transfer" in parts else "topics and subscriptions"
        raise AmqpError(Condition.NOT_IMPLEMENTED, f"the local broker has no {what}")
    kind = Kind.QUEUE
    if parts[-1] == Kind.MANAGEMENT:
        kind, parts = Kind.MANAGEMENT, parts[:-1]
    dead_letter = bool(parts) and parts[-1] == "$deadletterqueue"
    if dead_letter:
        parts = parts[:-1]
    return Address(kind, path, "/".join(parts), dead_letter)
