"""Role: tell people something in one place.

In: a notice. Out: a receipt.

Contract: the same ``key`` twice delivers once where the far side can tell; where it cannot and ``repeat`` is true the
message says "possible repeat" (rule H2). A failure is a ``TransientError`` or a ``PermanentError`` without any secret.
"""

from __future__ import annotations

from typing import Protocol

from shared.model.notice import Notice


class Channel(Protocol):
    """Tells people."""

    def send(self, notice: Notice, key: str, repeat: bool) -> str:
        """Deliver a notice.

        Args:
            key: idempotency key, the event id.
            repeat: an earlier attempt of the same key may have arrived.

        Returns:
            A few words about the delivery, for the timeline.
        """
        ...
