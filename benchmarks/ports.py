"""A port for a process that a benchmark starts.

In: nothing. Out: a port of 127.0.0.1 that is free now.
"""

from __future__ import annotations

from local.stack.places import any_free


def free_port() -> int:
    """A free port, not one of those that connections are given; another server may take it before it is used."""
    return any_free()
