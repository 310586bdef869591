"""Which HTTP function answers a path: ASP.NET route templates, literal before parameter before catch-all.

In: templates, then method and path. Out: the function's name and the values of its route parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote

_PARAMETER = re.compile(r"^\{(\*{0,2})([A-Za-z_]\w*)((?::[^{}]+)*?)(\?)?\}$")
_WHOLE = re.compile(r"^[+-]?\d+$")
_UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_CONSTRAINTS = {
    "int": _WHOLE,
    "long": _WHOLE,
    "guid": _UUID,
    "alpha": re.compile(r"^[A-Za-z]+$"),
    "bool": re.compile(r"^(true|false)$", re.IGNORECASE),
}


class RouteError(ValueError):
    """A template cannot be understood, or two functions claim the same template and method."""


class Kind(IntEnum):
    """Segment kinds in the order they are preferred."""

    LITERAL = 0
    CONSTRAINED = 1
    PARAMETER = 2
    CATCH_ALL = 3


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a template between slashes; `text` is the literal or the parameter's name."""

    kind: Kind
    text: str
    constraint: re.Pattern[str] | None = None
    optional: bool = False

    def accepts(self, value: str) -> bool:
        """Whether a single path segment fits."""
        if self.kind is Kind.LITERAL:
            return value.casefold() == self.text.casefold()
        return value != "" and (self.constraint is None or self.constraint.match(value) is not None)


@dataclass(frozen=True, slots=True)
class Route:
    """A template with the function it leads to; `methods` is None for all."""

    function: str
    segments: tuple[Segment, ...]
    methods: frozenset[str] | None

    @property
    def order(self) -> tuple[int, ...]:
        """Sort key: the most specific template first."""
        return tuple(segment.kind for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a path: `function` is None when only other methods are served, listed in `allowed`."""

    function: str | None
    parameters: dict[str, str]
    allowed: frozenset[str]


def parse_template(template: str) -> tuple[Segment, ...]:
    """Splits a template such as `incidents/{id:int}/{*rest}`.

    Raises:
        RouteError: a segment mixes text and parameter, a constraint is unknown, or what is optional or a
            catch-all is not last.
    """
    segments: list[Segment] = []
    names: set[str] = set()
    for part in [p for p in template.strip("/").split("/") if p]:
        if segments and (segments[-1].kind is Kind.CATCH_ALL or segments[-1].optional):
            raise RouteError(f"route {template!r}: only the last segment may be optional or a catch-all")
        if "{" not in part and "}" not in part:
            segments.append(Segment(Kind.LITERAL, part))
            continue
        match = _PARAMETER.match(part)
        if match is None:
            raise RouteError(f"route {template!r}: segment {part!r} is not supported")
        stars, name, constraints, optional = match.groups()
        if name.casefold() in names:
            raise RouteError(f"route {template!r}: parameter {name!r} is there twice")
        names.add(name.casefold())
        constraint = constraints.lstrip(":").lower()
        if constraint and constraint not in _CONSTRAINTS:
            raise RouteError(f"route {template!r}: constraint {constraint!r} is not supported")
        kind = Kind.CATCH_ALL if stars else Kind.CONSTRAINED if constraint else Kind.PARAMETER
        segments.append(Segment(kind, name, _CONSTRAINTS.get(constraint), bool(optional)))
    return tuple(segments)


def _match(segments: tuple[Segment, ...], parts: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for position, segment in enumerate(segments):
        if segment.kind is Kind.CATCH_ALL:
            values[segment.text] = "/".join(parts[position:])
            return values
        if position >= len(parts):
            if segment.optional:
                return values
            return None
        if not segment.accepts(parts[position]):
            return None
        if segment.kind is not Kind.LITERAL:
            values[segment.text] = parts[position]
    return values if len(parts) <= len(segments) else None


class RouteTable:
    """All routes of an app.

    Args:
        prefix: `routePrefix` of host.json, without slashes.
        functions: name, template and methods (None for all) of each HTTP function.

    Raises:
        RouteError: a template is malformed or claimed twice for one method.
    """

    def __init__(self, prefix: str, functions: Iterable[tuple[str, str, Iterable[str] | None]]) -> None:
        routes: list[Route] = []
        for name, template, methods in functions:
            segments = parse_template(f"{prefix}/{template}")
            route = Route(name, segments, None if methods is None else frozenset(m.upper() for m in methods))
            for other in routes:
                if _same(route, other):
                    raise RouteError(f"functions {other.function} and {name} have the same route {template!r}")
            routes.append(route)
        self._routes = sorted(routes, key=lambda route: route.order)

    def find(self, method: str, path: str) -> Found | None:
        """Looks a request up.

        Args:
            method: upper case.
            path: still percent-encoded, so that an encoded slash stays inside its segment.

        Returns:
            None when no template fits the path.
        """
        parts = [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
        allowed: set[str] = set()
        for route in self._routes:
            values = _match(route.segments, parts)
            if values is None:
                continue
            if route.methods is None or method in route.methods:
                return Found(route.function, values, frozenset())
            allowed |= route.methods
        return Found(None, {}, frozenset(allowed)) if allowed else None


def _same(one: Route, other: Route) -> bool:
    shape = [
        [(s.kind, s.text.casefold() if s.kind is Kind.LITERAL else s.constraint) for s in route.segments]
        for route in (one, other)
    ]
    if shape[0] != shape[1]:
        return False
    return one.methods is None or other.methods is None or bool(one.methods & other.methods)
