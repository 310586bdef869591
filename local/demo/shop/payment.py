"""The shop's payment gateway, with a latency that is really spent.

In: an amount. Out: a receipt after a few milliseconds.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

# Milliseconds: one charge in ten is faster than 4, none slower than 40. A timeout of 800 never strikes,
# one of 4 nearly always.
FLOOR_MS, SPREAD_MS, CEILING_MS = 3.5, 5.0, 40.0


@dataclass(frozen=True, slots=True)
class Receipt:
    """A payment that went through."""

    number: str
    amount_cents: int


class PaymentTimeoutError(Exception):
    """The gateway did not answer within the configured time."""


class Gateway:
    """Answers every charge, never fails by itself; a caller may lose patience."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - latency, not a secret
        self._count = 0

    def latency_s(self) -> float:
        """The time the next charge takes, drawn from the seeded source."""
        return min(FLOOR_MS + self._random.expovariate(1 / SPREAD_MS), CEILING_MS) / 1000

    async def charge(self, amount_cents: int, timeout_ms: int) -> Receipt:
        """Charge an amount.

        Raises:
            PaymentTimeoutError: it took longer than ``timeout_ms``.
        """
        try:
            await asyncio.wait_for(asyncio.sleep(self.latency_s()), timeout_ms / 1000)
        except TimeoutError:
            raise PaymentTimeoutError(f"payment gateway did not answer within {timeout_ms} ms") from None
        self._count += 1
        return Receipt(f"P{self._count:06d}", amount_cents)
