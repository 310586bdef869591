"""A port for a process that a benchmark starts.

In: nothing. Out: a port of 127.0.0.1 that is free now.
"""

from __future__ import annotations

import socket


def free_port() -> int:
    """A free port; another process may take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
