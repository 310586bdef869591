"""What `host.json` and the settings file say, as typed values.

In: the app's folder, a settings file. Out: `HostSettings`, environment variables, resolved `%NAME%` references.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_TIMEOUT_S = 30 * 60.0  # functionTimeout of Premium and Flex when host.json says nothing
MAX_BODY_BYTES = 104_857_600  # the Functions host's own request limit, 100 MiB
_REFERENCE = re.compile(r"%([^%]+)%")
_TIMESPAN = re.compile(r"^(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d+)?)?$")


class SettingsError(Exception):
    """The app cannot be run as configured; the message is meant for a person."""


@dataclass(frozen=True, slots=True)
class ServiceBusSettings:
    """The `extensions.serviceBus` section, with the extension's defaults.

    Attributes:
        max_concurrent_calls: invocations at once per function.
        prefetch_count: messages locked ahead of a free invocation; 0 locks none.
        max_lock_renewal_s: how long a lock is kept alive, seconds.
        max_batch_size: most messages one invocation of a `many` trigger gets.
    """

    max_concurrent_calls: int = 16
    prefetch_count: int = 0
    max_lock_renewal_s: float = 300.0
    max_batch_size: int = 1000


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What the host needs to know from `host.json`.

    Attributes:
        route_prefix: put before every route; "" for none.
        function_timeout_s: seconds an invocation may take.
        service_bus: see `ServiceBusSettings`.
        max_activities: Durable activities at once.
        hub_name: name of the Durable task hub.
        threads: size of the pool for synchronous functions.
    """

    route_prefix: str = "api"
    function_timeout_s: float = DEFAULT_TIMEOUT_S
    service_bus: ServiceBusSettings = field(default_factory=ServiceBusSettings)
    max_activities: int = 10
    hub_name: str = "local"
    threads: int = 16


def timespan_s(text: str) -> float:
    """Seconds in a .NET time span such as `00:10:00` or `1.02:00:00`; `-1` is no limit.

    Raises:
        SettingsError: not a time span.
    """
    if text.strip() == "-1":
        return float("inf")
    match = _TIMESPAN.match(text.strip())
    if match is None:
        raise SettingsError(f"not a time span (hh:mm:ss): {text!r}")
    days, hours, minutes, seconds, fraction = match.groups()
    whole = int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + int(seconds or 0)
    return whole + float(fraction or 0)


def apply_settings_file(path: Path) -> list[str]:
    """Puts the file's values into the environment, as the Core Tools do with `local.settings.json`.

    Args:
        path: JSON object of strings, or one with such an object under `Values`.

    Returns:
        Names set. A variable that the environment has already wins and is not in the list.

    Raises:
        SettingsError: unreadable, or a value is not a plain one. Values are never repeated in the message.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise SettingsError(f"settings file {path.name} cannot be read: {type(exc).__name__}") from exc
    values = content.get("Values", content) if isinstance(content, dict) else None
    if not isinstance(values, dict):
        raise SettingsError(f"settings file {path.name} is not a JSON object")
    names: list[str] = []
    for name, value in values.items():
        if isinstance(value, (dict, list)) or value is None:
            raise SettingsError(f"setting {name} in {path.name} must be a plain value")
        if name not in os.environ:
            os.environ[name] = str(value).lower() if isinstance(value, bool) else str(value)
            names.append(name)
    return names


def resolve(text: str, environment: Mapping[str, str], *, where: str) -> str:
    """Replaces `%NAME%` by the setting of that name.

    Args:
        text: value of a binding.
        environment: settings by name.
        where: the function and property, for the error.

    Raises:
        SettingsError: a name is not set.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise SettingsError(f"{where}: setting {match[1]} is not defined")
        return environment[match[1]]

    return _REFERENCE.sub(value, text)


def _section(parent: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = parent.get(name, {})
    if not isinstance(found, dict):
        raise SettingsError(f"host.json: {name} must be an object")
    return found


def _whole(section: Mapping[str, object], name: str, default: int, least: int) -> int:
    value = section.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingsError(f"host.json: {name} must be a whole number of at least {least}")
    return value


def _span(section: Mapping[str, object], name: str, default: float) -> float:
    value = section.get(name)
    return default if value is None else timespan_s(str(value))


def load_host_json(app_dir: Path, environment: Mapping[str, str]) -> HostSettings:
    """Reads `host.json` beside `function_app.py`.

    Raises:
        SettingsError: missing, not JSON, not version 2.0, or a value this host understands is malformed.
    """
    path = app_dir / "host.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise SettingsError(f"host.json in {app_dir} cannot be read: {type(exc).__name__}") from exc
    if not isinstance(content, dict) or content.get("version") != "2.0":
        raise SettingsError('host.json must be an object with "version": "2.0"')
    extensions = _section(content, "extensions")
    http, bus, durable = (_section(extensions, name) for name in ("http", "serviceBus", "durableTask"))
    if bus.get("autoCompleteMessages", True) is not True:
        raise SettingsError("host.json: autoCompleteMessages=false is not supported by the local host")
    threads = environment.get("PYTHON_THREADPOOL_THREAD_COUNT", "16")
    if not threads.isdecimal() or int(threads) < 1:
        raise SettingsError("PYTHON_THREADPOOL_THREAD_COUNT must be a whole number of at least 1")
    defaults = ServiceBusSettings()
    return HostSettings(
        route_prefix=str(http.get("routePrefix", "api")).strip("/"),
        function_timeout_s=_span(content, "functionTimeout", DEFAULT_TIMEOUT_S),
        service_bus=ServiceBusSettings(
            max_concurrent_calls=_whole(bus, "maxConcurrentCalls", defaults.max_concurrent_calls, 1),
            prefetch_count=_whole(bus, "prefetchCount", defaults.prefetch_count, 0),
            max_lock_renewal_s=_span(bus, "maxAutoLockRenewalDuration", defaults.max_lock_renewal_s),
            max_batch_size=_whole(bus, "maxMessageBatchSize", defaults.max_batch_size, 1),
        ),
        max_activities=_whole(durable, "maxConcurrentActivityFunctions", 10, 1),
        hub_name=resolve(str(durable.get("hubName", "local")), environment, where="host.json hubName"),
        threads=int(threads),
    )
