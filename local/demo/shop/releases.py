"""The shop's releases: a table of constants, and the diff between two of them.

In: a version. Out: its constants, who made it and why.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

FIRST = "2.4.0"
CONFIG_PATH = "shop/config.ini"


@dataclass(frozen=True, slots=True)
class Constants:
    """What a release sets; the running process reads them on every request."""

    payment_timeout_ms: int = 800
    payment_currency: str = "EUR"
    products_per_page: int = 24
    basket_limit: int = 40
    price_cache_s: int = 60

    def lines(self) -> list[str]:
        """The constants as the lines of a configuration file."""
        return [f"{name} = {getattr(self, name)}" for name in sorted(self.__slots__)]


@dataclass(frozen=True, slots=True)
class Release:
    """One version that can be deployed."""

    version: str
    author: str
    message: str
    constants: Constants


RELEASES: Mapping[str, Release] = {
    release.version: release
    for release in (
        Release(FIRST, "jana.horak", "Autumn assortment and new price cache", Constants()),
        Release(
            "2.4.1",
            "tom.reyes",
            "Tighten the payment timeout so that slow payments fail fast",
            # The mistake behind it: 4 was meant in seconds, the constant is in milliseconds.
            Constants(payment_timeout_ms=4),
        ),
        Release("2.4.2", "jana.horak", "Show more products on a page", Constants(products_per_page=30)),
    )
}


def diff(before: Constants, after: Constants) -> str:
    """The unified diff of two releases' constants; empty when nothing differs."""
    lines = difflib.unified_diff(
        before.lines(), after.lines(), f"a/{CONFIG_PATH}", f"b/{CONFIG_PATH}", lineterm="", n=1
    )
    return "\n".join(lines)
