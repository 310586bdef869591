"""Conductor's triggers: the sweep, the storm brake's round, the anchor, the purge.

In: timers. Out: what a crash left undone is done, or sent again; audit heads are anchored; what is old goes.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from shared import dispatch, wiring
from shared.adapters.waits import durable, durable_history

blueprint = df.Blueprint()
STORM_SCHEDULE = "*/30 * * * * *"
STORM_ROUND_S = 5.0


def schedule(setting: str, default: str) -> str:
    """A schedule that need not be set; the host refuses to start when one that is named is missing."""
    return f"%{setting}%" if os.environ.get(setting) else default


def storm_rounds(every: str) -> int:
    """How many rounds of the storm brake fit in before its timer comes again; one where the schedule does not say."""
    seconds = re.match(r"\*/(\d+) ", every)
    return max(1, int(int(seconds[1]) / STORM_ROUND_S) - 1) if seconds else 1


@blueprint.timer_trigger("timer", "%ARGUS_SWEEP_SCHEDULE%")
@blueprint.durable_client_input(client_name="client")
async def sweep_pending(timer: func.TimerRequest, client: Any) -> None:
    """Makes good what a crash left undone."""
    app = wiring.app()
    engine = app.engine_with(durable.DurableWaits(client, asyncio.get_running_loop()))
    await asyncio.to_thread(dispatch.tidy, engine, app.anchor)


@blueprint.timer_trigger("timer", schedule("ARGUS_DEAD_LETTER_SCHEDULE", "*/10 * * * * *"))
async def collect_dead_letters(timer: func.TimerRequest) -> None:
    """Brings what the bus gave up to where people look, and finishes replays that were cut off."""
    app = wiring.app()
    await asyncio.to_thread(dispatch.collect_dead_letters, app.engine, app.dead_letters)


@blueprint.timer_trigger("timer", schedule("ARGUS_BRAKE_SCHEDULE", "*/30 * * * * *"))
async def work_off_storm(timer: func.TimerRequest) -> None:
    """Lets the worst of what the storm brake holds through, a few at a time, again and again while there is a storm."""
    engine = wiring.app().engine
    for left in reversed(range(storm_rounds(os.environ.get("ARGUS_BRAKE_SCHEDULE") or STORM_SCHEDULE))):
        more = await asyncio.to_thread(dispatch.work_off, engine)
        if not more or not left:
            return
        await asyncio.sleep(STORM_ROUND_S)


@blueprint.timer_trigger("timer", schedule("ARGUS_WATCH_SCHEDULE", "*/20 * * * * *"))
async def watch_itself(timer: func.TimerRequest) -> None:
    """Looks whether ARGUS itself works."""
    await asyncio.to_thread(dispatch.watch, wiring.app().engine)


@blueprint.timer_trigger("timer", schedule("ARGUS_ANCHOR_SCHEDULE", "0 */5 * * * *"))
async def anchor_heads(timer: func.TimerRequest) -> None:
    """Hands the heads of audit chains to the anchor."""
    app = wiring.app()
    await asyncio.to_thread(dispatch.anchor, app.engine, app.anchor)


@blueprint.timer_trigger("timer", schedule("ARGUS_PURGE_SCHEDULE", "0 15 3 * * *"))
@blueprint.durable_client_input(client_name="client")
async def purge_old(timer: func.TimerRequest, client: Any) -> None:
    """Lets go what has been kept for long enough, in the store and in Durable's history."""
    app = wiring.app()
    await asyncio.to_thread(dispatch.purge, app.engine, app.anchor)
    await durable_history.purge(client, app.ports.settings.retention.history_days, app.engine.clock())
