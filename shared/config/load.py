"""YAML to settings, with every error at once: file, line, path, and what was probably meant.

In: a YAML file and the environment. Out: validated models, or a list of problems that repeat no value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from shared.config import wording
from shared.config.wording import Place
from shared.model.errors import ArgusError

M = TypeVar("M", bound=BaseModel)

_VARIABLE = re.compile(r"(?P<escape>\$)?\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\})?")
_MIN_HIDDEN_CHARS = 4  # a shorter value is no secret, and hiding it would make sentences unreadable


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong with the configuration.

    Attributes:
        line: 1-based line in the file; 0 when the file as a whole is meant.
    """

    file: str
    line: int
    path: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.path}: {self.text}" if self.path else f"{place}: {self.text}"


class ConfigError(ArgusError):
    """The configuration cannot be used; every problem is in it, sorted by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Document:
    """A parsed file: plain data, and the line of every path in it.

    Attributes:
        unset: places whose value needs an environment variable that is not set; nothing more is said about them.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unset: set[Place] = field(default_factory=set)

    def line(self, path: Place) -> int:
        """Line of a path, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def report(self, path: Place, text: str) -> None:
        """Add a problem at a path."""
        self.problems.append(Problem(self.file, self.line(path), ".".join(str(part) for part in path), text))

    def validate(self, model: type[M], data: object, at: Place = ()) -> M | None:
        """Build a model from part of the file; problems are collected, not raised.

        Args:
            at: where the part is, for the messages.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                place, text = wording.sentence(detail, model)
                path = (*at, *place)
                follows = any(missing[: len(path)] == path for missing in self.unset)
                if not follows or detail["type"] == "extra_forbidden":
                    hidden = _texts(detail["input"]) if detail["type"] == "value_error" else ()
                    self.report(path, _without(text, hidden))
            return None


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a YAML file and put the environment's values in.

    ``${NAME}`` must be set and not empty; ``${NAME:-default}`` need not be; ``$${`` stands for ``${``. Problems are in
    the document, never raised.
    """
    document = Document(_shown(path))
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = None if node is None else _plain(node, (), document, environ, ())
    except OSError as error:
        document.problems.append(Problem(document.file, 0, "", f"cannot be read: {error.strerror}"))
        return document
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        hint = "; within { } a ${NAME} needs quotes" if "${" in "".join(text.splitlines()[line - 1 : line]) else ""
        document.problems.append(Problem(document.file, line, "", f"this is not YAML: {error.problem}{hint}"))
        return document
    except (UnicodeDecodeError, yaml.YAMLError):
        document.problems.append(Problem(document.file, 0, "", "this is not YAML: it holds bytes that are no text"))
        return document
    if isinstance(value, dict):
        document.data = value
    else:
        document.problems.append(Problem(document.file, 0, "", 'settings were expected, as "name: value" lines'))
    return document


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _plain(
    node: yaml.Node, path: Place, document: Document, environ: Mapping[str, str], above: tuple[yaml.Node, ...]
) -> Any:
    """The value of a node; lines are noted on the way.

    Args:
        above: nodes this one is in; an alias can make one its own part.
    """
    document.lines.setdefault(path, node.start_mark.line + 1)
    if any(node is outer for outer in above):
        document.report(path, "this alias refers to what it stands in")
        document.unset.add(path)
        return None
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                document.report(path, "a name was expected before the colon")
                continue
            key = str(key_node.value)
            place = (*path, key)
            if key in found:
                line = key_node.start_mark.line + 1
                shown = ".".join(str(part) for part in place)
                first = f"this setting stands here twice; first in line {document.lines[place]}"
                document.problems.append(Problem(document.file, line, shown, first))
                continue
            document.lines[place] = key_node.start_mark.line + 1
            found[key] = _plain(value_node, place, document, environ, above)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), document, environ, above) for i, child in enumerate(node.value)]
    return _scalar(node, path, document, environ)


def _scalar(node: yaml.Node, path: Place, document: Document, environ: Mapping[str, str]) -> Any:
    text = str(node.value)
    if "${" in text:
        return _VARIABLE.sub(lambda match: _variable(match, path, document, environ), text)
    if node.tag == "tag:yaml.org,2002:timestamp":
        return text  # times are read by the settings that want one, zone and all
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    except (ValueError, yaml.YAMLError):
        document.report(path, "this value does not fit its YAML tag")
        document.unset.add(path)
        return ""
    finally:
        loader.dispose()


def _variable(match: re.Match[str], path: Place, document: Document, environ: Mapping[str, str]) -> str:
    name, default = match["name"], match["default"]
    if match["escape"]:
        return match[0][1:]
    value = None if name is None else environ.get(name) or default
    if value is not None:
        return value
    missing = f"the environment variable {name} is not set" if name else "after ${ a name and } were expected"
    document.report(path, missing)
    document.unset.add(path)
    return ""


def _texts(value: object) -> Iterator[str]:
    """Every text in a part of the file."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _without(text: str, hidden: Iterator[str] | tuple[()]) -> str:
    """A sentence that an adapter wrote, without the values it was given: one of them may be a secret."""
    for value in sorted(hidden, key=len, reverse=True):
        for form in {value, value[1:], repr(value)[1:-1], repr(value[1:])[1:-1]}:
            if len(form) >= _MIN_HIDDEN_CHARS:
                text = text.replace(form, "…")
    return text
