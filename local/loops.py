"""The event loop of our own processes: uvloop where it is installed, as it costs half of Python's own.

In: what is installed. Out: a factory for `asyncio.Runner`.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable


def quickest() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the quickest event loop there is."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
