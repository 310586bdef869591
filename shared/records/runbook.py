"""Runbooks as Markdown with YAML front matter, read strictly and written the same way.

In: the text of a file. Out: a `Runbook`, or an error that names the field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import yaml

from shared.model.errors import PermanentError, Reason
from shared.model.runbook import InputSource, Matches, Runbook, RunbookAction, RunbookInput

FIELDS = ("id", "title", "matches", "specialist", "owner", "inputs", "actions", "risk", "rollback")
MAX_CHARS = 200_000
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLACE = re.compile(r"\{([^{}]*)\}")
_FRONT = re.compile(r"\A---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.DOTALL)


def parse(text: str, path: str = "") -> Runbook:
    """Read a runbook.

    Args:
        text: the whole file.
        path: where it was read, for messages and people.

    Raises:
        PermanentError: a field is missing, unknown or wrong; the message names it (reason ``bad_input``).
    """
    where = path or "runbook"
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if len(text) > MAX_CHARS:
        raise _bad(where, f"{len(text)} characters are more than the {MAX_CHARS} a runbook may have")
    match = _FRONT.match(text)
    if match is None:
        raise _bad(where, "no front matter between two lines of ---")
    front = _front(match.group(1), where)
    runbook_id = _text(front, "id", where)
    if not _SLUG.fullmatch(runbook_id) or len(runbook_id) > 120:
        raise _bad(where, "field id: lower-case letters, digits and hyphens were expected")
    inputs = tuple(_input(item, f"{where}: field inputs[{i}]") for i, item in enumerate(_list(front, "inputs", where)))
    known = {item.name for item in inputs} | {"service"}
    actions = tuple(
        _action(item, known, f"{where}: field actions[{i}]") for i, item in enumerate(_list(front, "actions", where))
    )
    return Runbook(
        id=runbook_id,
        title=_text(front, "title", where),
        matches=_matches(front["matches"], where),
        specialist=_text(front, "specialist", where),
        owner=_text(front, "owner", where),
        inputs=inputs,
        actions=actions,
        risk=_text(front, "risk", where),
        rollback=_text(front, "rollback", where),
        body=text[match.end() :].strip() + "\n",
        path=path,
    )


def render(runbook: Runbook) -> str:
    """The file of a runbook; `parse` reads it back to the same value."""
    front = {
        "id": runbook.id,
        "title": runbook.title,
        "matches": {
            "alerts": list(runbook.matches.alerts),
            "causes": list(runbook.matches.causes),
            "words": list(runbook.matches.words),
            "services": list(runbook.matches.services),
        },
        "specialist": runbook.specialist,
        "owner": runbook.owner,
        "inputs": [{"name": item.name, "from": str(item.source)} for item in runbook.inputs],
        "actions": [
            {"action": item.action, "target": item.target, "parameters": dict(item.parameters)}
            for item in runbook.actions
        ],
        "risk": runbook.risk,
        "rollback": runbook.rollback,
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{head}---\n\n{runbook.body.strip()}\n"


def placeholders(template: str) -> tuple[str, ...]:
    """Names between braces, in order."""
    return tuple(_PLACE.findall(template))


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values for ``{name}``; values are never read as templates themselves."""
    return _PLACE.sub(lambda match: values[match.group(1)], template)


def _bad(where: str, problem: str) -> PermanentError:
    return PermanentError(f"{where}: {problem}", Reason.BAD_INPUT)


def _front(text: str, where: str) -> dict[str, object]:
    try:
        front = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f" in line {mark.line + 2}" if mark is not None else ""
        raise _bad(where, f"the front matter is no valid YAML{line}") from exc
    if not isinstance(front, dict):
        raise _bad(where, "the front matter is no mapping")
    _only(front, FIELDS, where)
    for name in FIELDS:
        if name not in front:
            raise _bad(where, f"field {name} is missing")
    return front


def _only(data: Mapping[object, object], allowed: tuple[str, ...], where: str) -> None:
    unknown = sorted(str(name) for name in data if name not in allowed)
    if unknown:
        raise _bad(where, f"unknown field {unknown[0]}; known are {', '.join(allowed)}")


def _text(data: Mapping[str, object], name: str, where: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _bad(where, f"field {name}: a text was expected")
    return value.strip()


def _list(data: Mapping[str, object], name: str, where: str) -> list[object]:
    value = data.get(name)
    if not isinstance(value, list):
        raise _bad(where, f"field {name}: a list was expected")
    return value


def _matches(data: object, where: str) -> Matches:
    if not isinstance(data, dict):
        raise _bad(where, "field matches: a mapping was expected")
    names = ("alerts", "causes", "words", "services")
    _only(data, names, f"{where}: field matches")
    lists = {name: _words(data.get(name, []), f"{where}: field matches.{name}") for name in names}
    if not any(lists[name] for name in ("alerts", "causes", "words")):
        raise _bad(where, "field matches: at least one alert, cause or word was expected")
    return Matches(**lists)


def _words(data: object, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) and item.strip() for item in data):
        raise _bad(where, "a list of texts was expected")
    return tuple(str(item).strip() for item in data)


def _input(data: object, where: str) -> RunbookInput:
    if not isinstance(data, dict):
        raise _bad(where, "a mapping with name and from was expected")
    _only(data, ("name", "from"), where)
    name = _text(data, "name", where)
    if not _NAME.fullmatch(name):
        raise _bad(where, "field name: lower-case letters, digits and underscores were expected")
    source = _text(data, "from", where)
    try:
        return RunbookInput(name, InputSource(source))
    except ValueError:
        raise _bad(where, f"field from: {source!r} is not one of {', '.join(InputSource)}") from None


def _action(data: object, known: set[str], where: str) -> RunbookAction:
    if not isinstance(data, dict):
        raise _bad(where, "a mapping with action, target and parameters was expected")
    _only(data, ("action", "target", "parameters"), where)
    parameters = data.get("parameters", {})
    if not isinstance(parameters, dict) or not all(
        isinstance(name, str) and isinstance(value, str) for name, value in parameters.items()
    ):
        raise _bad(where, "field parameters: a mapping of texts was expected")
    action = RunbookAction(_text(data, "action", where), _text(data, "target", where), dict(parameters))
    for template in (action.target, *action.parameters.values()):
        for name in placeholders(template):
            if name not in known:
                raise _bad(where, f"{{{name}}} is no input")
    return action
