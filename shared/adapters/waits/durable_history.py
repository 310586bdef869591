"""Durable histories that nobody needs any more.

In: the client of a binding. Out: instances that ended are forgotten. Source: pypi.org/project/azure-functions-durable.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from azure.durable_functions import OrchestrationRuntimeStatus as Status

ENDED = (Status.Completed, Status.Failed, Status.Terminated, Status.Canceled)
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)  # the SDK wants one; no instance of ours is older


async def purge(client: Any, days: float, now: datetime) -> int:
    """Forget instances that were created so long ago and have ended.

    Args:
        client: durable client of the invocation.
        days: 0 keeps them for ever.

    Returns:
        How many went.
    """
    if not days:
        return 0
    result = await client.purge_instance_history_by(BEGINNING, now - timedelta(days=days), list(ENDED))
    return int(result.instances_deleted)
