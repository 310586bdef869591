"""YAML to settings, with every error at once: file, line, path, and what was probably meant.

In: a YAML file and the environment. Out: validated models, or a list of problems.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
Path_ = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


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


class ConfigError(Exception):
    """The configuration cannot be used; every problem is in it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(slots=True)
class Document:
    """A parsed file: plain data, and the line of every path in it."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path_) -> int:
        """Line of a path, or of the nearest one above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def report(self, path: Path_, text: str) -> None:
        """Add a problem at a path."""
        self.problems.append(Problem(self.file, self.line(path), ".".join(str(part) for part in path), text))

    def validate(self, model: type[M], data: object, at: Path_ = ()) -> M | None:
        """Build a model from part of the file; problems are collected, not raised.

        Args:
            at: where the part is, for the messages.
        """
        try:
            return model.model_validate(data)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self._report_detail(model, detail["type"], detail["msg"], at, detail["loc"])
            return None

    def _report_detail(self, model: type[BaseModel], kind: str, message: str, at: Path_, loc: Path_) -> None:
        loc = tuple(part for part in loc if part not in ("threshold", "burn_rate"))
        path = (*at, *loc)
        if kind == "extra_forbidden":
            known = _names(model, loc[:-1])
            close = difflib.get_close_matches(str(loc[-1]), known, n=1)
            hint = f'; did you mean "{close[0]}"?' if close else f"; known here: {', '.join(known)}" if known else ""
            self.report(path, f"unknown setting{hint}")
        elif kind == "missing":
            self.report(path, "this setting is missing")
        else:
            self.report(path, message[:1].lower() + message[1:])


def read(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a YAML file and put the environment's values in.

    ``${NAME}`` must be set; ``${NAME:-default}`` need not be. Problems are in the document, never raised.
    """
    document = Document(_shown(path))
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        document.problems.append(Problem(document.file, 0, "", f"cannot be read: {error.strerror}"))
        return document
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        document.problems.append(Problem(document.file, line, "", f"this is not YAML: {error.problem}"))
        return document
    value = None if node is None else _plain(node, (), document, environ)
    if isinstance(value, dict):
        document.data = value
    else:
        document.problems.append(Problem(document.file, 0, "", "a mapping of settings was expected"))
    return document


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _plain(node: yaml.Node, path: Path_, document: Document, environ: Mapping[str, str]) -> Any:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            document.lines[(*path, key)] = key_node.start_mark.line + 1
            if key in found:
                document.report((*path, key), "this setting stands here twice")
            found[key] = _plain(value_node, (*path, key), document, environ)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_plain(child, (*path, i), document, environ) for i, child in enumerate(node.value)]
    text = str(node.value)
    if "${" in text:
        return _VARIABLE.sub(lambda match: _variable(match, path, document, environ), text)
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def _variable(match: re.Match[str], path: Path_, document: Document, environ: Mapping[str, str]) -> str:
    name, default = match.group(1), match.group(2)
    value = environ.get(name) or default
    if value is None:
        document.report(path, f"the environment variable {name} is not set")
        return ""
    return value


def _names(model: type[BaseModel], loc: Path_) -> list[str]:
    """Settings known at a place inside a model, for suggestions; empty when it cannot be told."""
    current: Any = model
    for part in loc:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            current = _inside(current)
            continue
        info = current.model_fields.get(str(part))
        if info is None:
            return []
        current = info.annotation
    current = current if isinstance(current, type) else _inside(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    models = [arg for arg in getattr(current, "__args__", ()) if isinstance(arg, type) and issubclass(arg, BaseModel)]
    return sorted({name for found in models for name in found.model_fields})


def _inside(annotation: Any) -> Any:
    """The value type of a mapping, list or Annotated."""
    arguments: tuple[Any, ...] = getattr(annotation, "__args__", ())
    origin: Any = getattr(annotation, "__origin__", None)
    if origin is dict and len(arguments) > 1:
        value: Any = arguments[1]
        return _inside(value) if hasattr(value, "__metadata__") else value
    if origin is list and arguments:
        return arguments[0]
    return annotation if origin is None else origin
