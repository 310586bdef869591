"""What the broker tells a peer when it refuses something.

In: nothing. Out: conditions and the exception that carries one to the place where it becomes an AMQP error.
"""

from enum import StrEnum

from local.servicebus.types import Described, Symbol, ULong, Value


class Condition(StrEnum):
    """Error conditions of AMQP 1.0 and of Service Bus, spelt as on the wire."""

    NOT_FOUND = "amqp:not-found"
    UNAUTHORIZED = "amqp:unauthorized-access"
    NOT_IMPLEMENTED = "amqp:not-implemented"
    NOT_ALLOWED = "amqp:not-allowed"
    DECODE_ERROR = "amqp:decode-error"
    INTERNAL_ERROR = "amqp:internal-error"
    ILLEGAL_STATE = "amqp:illegal-state"
    RESOURCE_LIMIT = "amqp:resource-limit-exceeded"
    FRAMING_ERROR = "amqp:connection:framing-error"
    CONNECTION_FORCED = "amqp:connection:forced"
    UNATTACHED_HANDLE = "amqp:session:unattached-handle"
    HANDLE_IN_USE = "amqp:session:handle-in-use"
    MESSAGE_SIZE = "amqp:link:message-size-exceeded"
    TRANSFER_LIMIT = "amqp:link:transfer-limit-exceeded"
    LOCK_LOST = "com.microsoft:message-lock-lost"
    MESSAGE_NOT_FOUND = "com.microsoft:message-not-found"
    ARGUMENT_ERROR = "com.microsoft:argument-error"
    DEAD_LETTER = "com.microsoft:dead-letter"


class AmqpError(Exception):
    """A refusal with the condition and the sentence the peer will read; never holds a secret."""

    def __init__(self, condition: Condition, description: str) -> None:
        super().__init__(description)
        self.condition = condition
        self.description = description

    def described(self) -> Described:
        """The AMQP error, always with all three fields: the SDK indexes each of them."""
        fields: list[Value] = [Symbol(self.condition), self.description, {}]
        return Described(ULong(0x1D), fields)
