"""Stands in for the module that makes queues in Azure: each test gets a broker of its own with the queue it asks for.

In: the decorators on Microsoft's tests. Out: the same keyword arguments, of a broker process on loopback.
"""

import asyncio
import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.local.servicebus_conformance.broker_process import KEY_NAME, broker_process

SERVICEBUS_ENDPOINT_SUFFIX = ""  # the namespace's name has the port already
_DURATION = re.compile(r"PT(?:(\d+)M)?(?:(\d+)S)?\Z")
_DEDUP_WINDOW_S = 600  # Azure's default where duplicate detection is on


@dataclass(slots=True)
class Resource:
    """What the tests read of a namespace or queue."""

    name: str


class ServiceBusQueuePreparer:
    """Runs a test against a fresh broker with one queue of the asked properties."""

    def __init__(
        self,
        *,
        name_prefix: str,
        requires_duplicate_detection: bool = False,
        dead_lettering_on_message_expiration: bool = False,
        requires_session: bool = False,
        enable_partitioning: bool = False,
        lock_duration: str = "PT30S",
    ) -> None:
        self._beyond = [
            *(["sessions"] if requires_session else []),
            *(["partitioning"] if enable_partitioning else []),
        ]
        self._queue = {
            "name": f"{name_prefix}queue",
            "lock_duration_s": _seconds(lock_duration),
            "dead_letter_on_expiration": dead_lettering_on_message_expiration,
            "duplicate_detection_window_s": _DEDUP_WINDOW_S if requires_duplicate_detection else None,
        }

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """The test with its broker around it; a coroutine is run on a loop of its own."""

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            if self._beyond:
                raise AssertionError(
                    f"the broker has no {' and '.join(self._beyond)}: this test belongs into the table"
                )
            with broker_process([self._queue]) as broker:
                result = test(
                    *args,
                    servicebus_namespace=Resource(f"localhost:{broker.port}"),
                    servicebus_namespace_connection_string=broker.connection_string,
                    servicebus_namespace_key_name=KEY_NAME,
                    servicebus_namespace_primary_key=broker.key,
                    servicebus_queue=Resource(str(self._queue["name"])),
                    **kwargs,
                )
                if inspect.isawaitable(result):
                    asyncio.run(_awaited(result))

        return run


async def _awaited(result: Any) -> None:
    await result


def _nothing(**_: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A resource group or namespace needs no making here."""
    return lambda test: test


def _seconds(duration: str) -> int:
    found = _DURATION.match(duration)
    if found is None:
        raise ValueError(f"not a duration of minutes and seconds: {duration}")
    return 60 * int(found[1] or 0) + int(found[2] or 0)


CachedServiceBusResourceGroupPreparer = ServiceBusResourceGroupPreparer = _nothing
CachedServiceBusNamespacePreparer = ServiceBusNamespacePreparer = _nothing
CachedServiceBusQueuePreparer = ServiceBusQueuePreparer
