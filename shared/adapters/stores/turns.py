"""Writers of one process take turns: what waits while one works is written by the next of them in one go.

In: pieces of work. Out: each one's result, or its failure. A lock that each writer took for itself would be handed from
thread to thread once for every row, and each of these would wait for the interpreter as often as it calls the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

W = TypeVar("W")
R = TypeVar("R")

MOST = 64  # pieces of one turn, so that the first of them does not wait for ever


@dataclass(slots=True, eq=False)
class Piece(Generic[W, R]):
    """Work that waits.

    Attributes:
        until: ``time.monotonic`` at which its thread stops waiting.
        done: one of ``result`` and ``failure`` says what came of it.
    """

    work: W
    until: float
    taken: bool = False
    done: bool = False
    result: R | None = None
    failure: Exception | None = None


class Turns(Generic[W, R]):
    """Lets one thread at a time work, for all that wait.

    Args:
        take: does the work of some pieces, in their order, and marks each of them done, with its result or its
            failure. What it raises itself is a fault of the program.
    """

    def __init__(self, take: Callable[[Sequence[Piece[W, R]]], None]) -> None:
        self._take = take
        self._changed = threading.Condition()
        self._waiting: list[Piece[W, R]] = []
        self._working = False

    def do(self, work: W, within_s: float) -> R | None:
        """Have a piece of work done, by this thread or by another.

        Returns:
            Its result; ``None`` when its turn did not come in time, and it was not begun.

        Raises:
            Exception: what the work failed with.
        """
        piece: Piece[W, R] = Piece(work, time.monotonic() + within_s)
        with self._changed:
            self._waiting.append(piece)
            while not piece.done and (piece.taken or self._working):
                left = piece.until - time.monotonic()
                if left <= 0 and not piece.taken:
                    self._waiting.remove(piece)
                    return None
                # Whoever took it waits for the database no longer than that, and says what came of it.
                self._changed.wait(None if piece.taken else left)
            if not piece.done:
                self._working = True
        if not piece.done:
            self._work(piece)
        if piece.failure is not None:
            raise piece.failure
        return piece.result

    def _work(self, own: Piece[W, R]) -> None:
        """One turn: the own piece and those that wait, the oldest first."""
        with self._changed:
            self._waiting.remove(own)
            turn = [*self._waiting[: MOST - 1], own]
            del self._waiting[: MOST - 1]
            for piece in turn:
                piece.taken = True
        try:
            self._take(turn)
        finally:
            with self._changed:
                for piece in turn:
                    if not piece.done:
                        piece.failure, piece.done = RuntimeError("the work was broken off"), True
                self._working = False
                self._changed.notify_all()
