"""Queue definitions, checked against Azure's limits before anything starts.

In: a JSON file or Python calls. Out: ``QueueSettings``, or a ``ValueError`` that names every mistake.
"""

import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

from local.servicebus import limits

# learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules, Microsoft.ServiceBus queues
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One queue.

    Args:
        name: letters, digits, ``. _ - /``; compared without case.
        lock_duration_s: how long a received message stays locked, 5 to 300 seconds.
        max_delivery_count: failed deliveries until a message is dead-lettered, 1 to 2000.
        default_ttl_s: longest time to live in seconds, at least 1; None is for ever.
        dead_letter_on_expiration: expired messages go to the dead-letter queue instead of away.
        duplicate_detection_window_s: how long message ids are remembered, 20 s to 7 days; None turns it off.

    Raises:
        ValueError: a value is out of range; the message names each one.
    """

    name: str
    lock_duration_s: float = limits.DEFAULT_LOCK_S
    max_delivery_count: int = limits.DEFAULT_DELIVERY_COUNT
    default_ttl_s: float | None = None
    dead_letter_on_expiration: bool = False
    duplicate_detection_window_s: float | None = limits.DEFAULT_DEDUP_WINDOW_S

    def __post_init__(self) -> None:
        mistakes = [
            *_check_name(self.name),
            *_range("lock_duration_s", self.lock_duration_s, limits.MIN_LOCK_S, limits.MAX_LOCK_S),
            *_range(
                "max_delivery_count", self.max_delivery_count, limits.MIN_DELIVERY_COUNT, limits.MAX_DELIVERY_COUNT
            ),
        ]
        if isinstance(self.max_delivery_count, float):
            mistakes.append("max_delivery_count must be a whole number")
        if self.default_ttl_s is not None:
            mistakes += _range("default_ttl_s", self.default_ttl_s, limits.MIN_TTL_S, float("inf"))
        if not isinstance(self.dead_letter_on_expiration, bool):
            mistakes.append("dead_letter_on_expiration must be true or false")
        if self.duplicate_detection_window_s is not None:
            window = self.duplicate_detection_window_s
            low, high = limits.MIN_DEDUP_WINDOW_S, limits.MAX_DEDUP_WINDOW_S
            mistakes += _range("duplicate_detection_window_s", window, low, high)
        if mistakes:
            raise ValueError(f"queue {self.name!r}: " + "; ".join(mistakes))


def load_queues(path: Path) -> list[QueueSettings]:
    """Queue definitions from a JSON list of objects with the fields of ``QueueSettings``.

    Raises:
        ValueError: not such a list; every mistake is named. The file itself missing is an OSError.
    """
    try:
        entries = json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as exc:
        raise ValueError(f"{path.name}: not JSON: {exc}") from exc
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path.name}: a list with at least one queue was expected")
    queues: list[QueueSettings] = []
    mistakes: list[str] = []
    known = {field.name for field in fields(QueueSettings)}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            mistakes.append(f"entry {number}: an object was expected")
            continue
        unknown = sorted(set(entry) - known)
        if unknown or "name" not in entry:
            mistakes += [f"entry {number}: unknown setting {key!r}" for key in unknown]
            mistakes += [] if "name" in entry else [f"entry {number}: 'name' is missing"]
            continue
        try:
            queues.append(QueueSettings(**entry))
        except ValueError as exc:
            mistakes.append(f"entry {number}: {exc}")
    mistakes += check_names(queues)
    if mistakes:
        raise ValueError(f"{path.name}: " + "\n".join(mistakes))
    return queues


def check_names(queues: list[QueueSettings]) -> list[str]:
    """A sentence for each name used twice, compared without case."""
    seen: set[str] = set()
    mistakes: list[str] = []
    for queue in queues:
        if queue.name.lower() in seen:
            mistakes.append(f"queue {queue.name!r} is defined twice")
        seen.add(queue.name.lower())
    return mistakes


def _check_name(name: object) -> list[str]:
    if not isinstance(name, str) or not _NAME.match(name):
        return ["name must be letters, digits, '.', '_', '-', '/', starting and ending with a letter or digit"]
    if len(name) > limits.MAX_QUEUE_NAME_CHARS:
        return [f"name is longer than {limits.MAX_QUEUE_NAME_CHARS} characters"]
    return []


def _range(setting: str, value: object, low: float, high: float) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return [f"{setting} must be a number, not {value!r}"]
    if not low <= value <= high:
        upper = "" if high == float("inf") else f" and at most {high}"
        return [f"{setting} must be at least {low}{upper}, not {value}"]
    return []
