"""Role: know who a person is.

In: a request's cookies or headers. Out: a person with groups, or nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in person; ``session`` binds CSRF tokens to the sign-in."""

    user: str
    name: str
    groups: frozenset[str]
    session: str


class Identity(Protocol):
    """Knows people."""

    def who(self, headers: Mapping[str, str], cookies: Mapping[str, str]) -> Person | None:
        """The signed-in person, or ``None``."""
        ...
