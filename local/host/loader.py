"""Imports an unchanged `function_app.py` and lists what it registers.

In: the app's folder. Out: one `FunctionSpec` per function; what this host cannot run is refused by name.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from azure.functions import FunctionRegister
from azure.functions.decorators.utils import StringifyEnumJsonEncoder

from local.host.settings import SettingsError


class Trigger(StrEnum):
    """Trigger types this host runs, by the name of their binding."""

    HTTP = "httpTrigger"
    TIMER = "timerTrigger"
    SERVICE_BUS = "serviceBusTrigger"
    ORCHESTRATION = "orchestrationTrigger"
    ACTIVITY = "activityTrigger"


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function as its app declares it.

    Attributes:
        name: unique in the app; for activities and orchestrators the name they are called by.
        call: the user's callable; takes its bindings as keywords.
        trigger: what starts it.
        parameter: keyword the trigger's data goes to.
        binding: the trigger as in function.json (camelCase keys, enums as text).
        clients: keywords that get a Durable client.
        wants_context: takes `context` beside its bindings.
        is_async: runs on the event loop instead of the thread pool.
        directory: the app's folder.
    """

    name: str
    call: Callable[..., Any]
    trigger: Trigger
    parameter: str
    binding: Mapping[str, Any]
    clients: tuple[str, ...]
    wants_context: bool
    is_async: bool
    directory: Path

    def text(self, key: str) -> str:
        """The trigger property `key` as text, "" when the app does not set it."""
        value = self.binding.get(key)
        return "" if value is None else str(value)


def import_app(app_dir: Path) -> FunctionRegister:
    """Imports `function_app.py` with its folder first on `sys.path` and finds the app object in it.

    Raises:
        SettingsError: no such file, or not exactly one app object. What the app itself raises passes through.
    """
    path = app_dir / "function_app.py"
    if not path.is_file():
        raise SettingsError(f"no function_app.py in {app_dir}")
    sys.path.insert(0, str(app_dir))
    spec = importlib.util.spec_from_file_location("function_app", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["function_app"] = module
    spec.loader.exec_module(module)
    apps = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(apps) != 1:
        raise SettingsError(f"function_app.py must hold exactly one function app, found {len(apps)}")
    return next(iter(apps.values()))


def _bindings(function: Any) -> list[dict[str, Any]]:
    raw = [binding.get_dict_repr() for binding in function.get_bindings()]
    parsed: list[dict[str, Any]] = json.loads(json.dumps(raw, cls=StringifyEnumJsonEncoder))
    return parsed


def _refusal(name: str, trigger: Mapping[str, Any], others: list[dict[str, Any]]) -> str | None:
    kind = str(trigger["type"])
    if kind not in {str(known) for known in Trigger}:
        return f"function {name}: trigger {kind} is not supported by the local host"
    if kind == Trigger.HTTP and str(trigger.get("authLevel", "FUNCTION")) != "ANONYMOUS":
        return f"function {name}: the local host keeps no function keys; only AuthLevel.ANONYMOUS is supported"
    if kind == Trigger.SERVICE_BUS:
        if trigger.get("isSessionsEnabled"):
            return f"function {name}: sessions are not supported by the local host"
        if not trigger.get("queueName"):
            return f"function {name}: topics are not supported by the local host"
    for binding in others:
        if binding["type"] == "durableClient":
            continue
        if binding["type"] == "http" and binding["name"] == "$return":
            continue
        return f"function {name}: binding {binding['type']} ({binding['name']}) is not supported by the local host"
    return None


def load_functions(app: FunctionRegister, app_dir: Path) -> list[FunctionSpec]:
    """Lists the app's functions.

    Raises:
        SettingsError: one line for each function this host cannot run; or the library found the app malformed
            (two functions of one name, a function without trigger).
    """
    specs: list[FunctionSpec] = []
    refusals: list[str] = []
    try:
        functions = app.get_functions()
    except ValueError as exc:
        raise SettingsError(str(exc)) from exc
    for function in functions:
        bindings = _bindings(function)
        declared = function.get_trigger()
        if declared is None:  # get_functions() has refused such a function already
            continue
        kind = declared.get_binding_name()
        trigger = next(b for b in bindings if b["type"] == kind and b["name"] == declared.name)
        others = [b for b in bindings if b is not trigger]
        name = str(trigger.get("orchestration") or trigger.get("activity") or function.get_function_name())
        refusal = _refusal(name, trigger, others)
        if refusal is not None:
            refusals.append(refusal)
            continue
        call = function.get_user_function()
        bound = {str(b["name"]) for b in bindings}
        specs.append(
            FunctionSpec(
                name=name,
                call=call,
                trigger=Trigger(kind),
                parameter=str(trigger["name"]),
                binding=trigger,
                clients=tuple(str(b["name"]) for b in others if b["type"] == "durableClient"),
                wants_context="context" in inspect.signature(call).parameters and "context" not in bound,
                is_async=inspect.iscoroutinefunction(call),
                directory=app_dir,
            )
        )
    if refusals:
        raise SettingsError("\n".join(refusals))
    return specs
