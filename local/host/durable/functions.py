"""The app's orchestrators and activities as the scheduler calls them.

In: function specs. Out: JSON text from JSON text, through the library's own converters.
"""

from __future__ import annotations

from collections.abc import Iterable

from azure.functions.meta import Datum

from local.host.converters import converter
from local.host.invoke import InvocationError, Invoker
from local.host.loader import FunctionSpec, Trigger


class AppFunctions:
    """Durable functions of an app; see `scheduler.Functions`.

    Args:
        specs: all functions of the app.
        invoker: runs them.
    """

    def __init__(self, specs: Iterable[FunctionSpec], invoker: Invoker) -> None:
        listed = list(specs)
        self._orchestrators = {s.name.casefold(): s for s in listed if s.trigger is Trigger.ORCHESTRATION}
        self._activities = {s.name.casefold(): s for s in listed if s.trigger is Trigger.ACTIVITY}
        self._invoker = invoker

    def has_orchestrator(self, name: str) -> bool:
        """Whether the app has it."""
        return name.casefold() in self._orchestrators

    def has_activity(self, name: str) -> bool:
        """Whether the app has it."""
        return name.casefold() in self._activities

    async def orchestrate(self, name: str, trigger: str) -> str:
        """Runs one episode of an orchestrator."""
        spec = self._orchestrators[name.casefold()]
        convert = converter("orchestrationTrigger")
        context = convert.decode(Datum(trigger, "string"), trigger_metadata=None)
        return str(await self._invoker.invoke(spec, context, orchestrator=True))

    async def act(self, name: str, input_json: str | None) -> str:
        """Runs an activity once."""
        spec = self._activities[name.casefold()]
        convert = converter("activityTrigger")
        try:
            value = convert.decode(Datum(input_json or "null", "json"), trigger_metadata=None)
        except ValueError as exc:
            raise InvocationError(str(exc), "") from exc
        result = await self._invoker.invoke(spec, value)
        try:
            return str(convert.encode(result, expected_type=None).value)
        except (TypeError, ValueError) as exc:
            raise InvocationError(f"activity {name}: its result is not JSON", "") from exc
