"""The schema version of rows and messages, and how what an older version wrote becomes what this one reads.

In: the content of a row or message, and the version it carries. Out: the content as the current version has it.

Version 1 is everything that was written before there was a version; it carries none. Version 2 is the same content with
the version on it, and what was added before it was released. Whoever changes a row or a payload after a release, be it
by one optional field, adds one to `CURRENT` and runs ``python -m tests.model.take_version N`` before that. Where the
old form can no longer be read, an upgrade is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

CURRENT = 2
FIRST = 1
ROW_PROPERTY = "v"
MESSAGE_ATTRIBUTE = "schemaversion"  # CloudEvents 1.0: attribute names are lower-case letters and digits

Content = dict[str, object]
Upgrade = Callable[[Content], Content]
Steps = Mapping[tuple[str, int], Upgrade]  # by kind and the version it comes from; the result is one version higher

# A packed row comes with its model value, as JSON objects, in ``doc``; a message with its ``data``. A kind that did not
# change from one version to the next has no step.
ROWS: Steps = {}
MESSAGES: Steps = {}


class NewerSchema(Exception):
    """Written by a newer ARGUS than this one; nobody but that one can read it."""


def version_of(value: object, what: str) -> int:
    """The version that something carries.

    Args:
        value: what stands where the version stands; ``None`` when there is none, which is version 1.
        what: how to call it in the errors.

    Raises:
        NewerSchema: it is higher than `CURRENT`.
        ValueError: it is no version.
    """
    if value is None:
        return FIRST
    if not isinstance(value, int) or isinstance(value, bool) or value < FIRST:
        raise ValueError(f"{what}: {value!r} is no schema version")
    if value > CURRENT:
        raise NewerSchema(f"{what} was written by a newer ARGUS (schema {value}, this one reads up to {CURRENT})")
    return value


def upgrade(kind: str, content: Content, version: int, steps: Steps, to: int = CURRENT) -> Content:
    """The content as version ``to`` has it.

    Args:
        kind: of the row or message.
        version: the one it was written with.
    """
    for step in range(version, to):
        change = steps.get((kind, step))
        content = content if change is None else change(content)
    return content


def changed(kind: str, version: int, steps: Steps) -> bool:
    """Whether anything has to be done to content of this version."""
    return any((kind, step) in steps for step in range(version, CURRENT))
