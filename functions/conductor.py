"""Conductor's trigger: the sweep.

In: a timer. Out: what a crash left undone is done, or sent again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from shared import dispatch, wiring
from shared.adapters.waits import durable

blueprint = df.Blueprint()


@blueprint.timer_trigger("timer", "%ARGUS_SWEEP_SCHEDULE%")
@blueprint.durable_client_input(client_name="client")
async def sweep_pending(timer: func.TimerRequest, client: Any) -> None:
    """Makes good what a crash left undone."""
    app = wiring.app()
    engine = app.engine_with(durable.DurableWaits(client, asyncio.get_running_loop()))
    await asyncio.to_thread(dispatch.tidy, engine, app.anchor)
