"""ServiceNow encoded queries.

In: the text of ``sysparm_query`` and rows. Out: the rows that match, in the order asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]

CONDITION = re.compile(
    r"^(?P<field>[a-z_][a-z0-9_.]*)"
    r"(?P<op>!=|>=|<=|=|>|<|NOT LIKE|LIKE|STARTSWITH|ENDSWITH|NOT IN|IN|ISEMPTY|ISNOTEMPTY)(?P<value>.*)$",
    re.DOTALL,
)

TESTS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    "LIKE": lambda have, want: want in have,
    "NOT LIKE": lambda have, want: want not in have,
    "STARTSWITH": lambda have, want: have.startswith(want),
    "ENDSWITH": lambda have, want: have.endswith(want),
    "IN": lambda have, want: have in [part.strip() for part in want.split(",")],
    "NOT IN": lambda have, want: have not in [part.strip() for part in want.split(",")],
    "ISEMPTY": lambda have, want: have == "",
    "ISNOTEMPTY": lambda have, want: have != "",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; the database compares text without regard to case."""

    field: str
    op: str
    value: str

    def holds(self, row: Row) -> bool:
        """Whether a row satisfies it."""
        return TESTS[self.op](str(row.get(self.field, "")).casefold(), self.value.casefold())


@dataclass(frozen=True, slots=True)
class Query:
    """Alternatives (`^NQ`) of conjunctions (`^`) of alternatives (`^OR`), an order, and what was ignored."""

    groups: tuple[tuple[tuple[Condition, ...], ...], ...]
    order: tuple[tuple[str, bool], ...]
    ignored: tuple[str, ...]

    def select(self, rows: Sequence[Row]) -> list[Row]:
        """The matching rows, ordered; without an order they keep the order given."""
        found = [row for row in rows if any(_all_hold(group, row) for group in self.groups)]
        for field, descending in reversed(self.order):
            found.sort(key=lambda row, name=field: str(row.get(name, "")), reverse=descending)  # type: ignore[misc]
        return found


def _all_hold(group: tuple[tuple[Condition, ...], ...], row: Row) -> bool:
    return all(any(condition.holds(row) for condition in alternatives) for alternatives in group)


def parse_query(text: str, fields: frozenset[str]) -> Query:
    """Read an encoded query.

    A term on a field the table does not have, or that is no term at all, is ignored and widens the result:
    that is the vendor's default (`glide.invalid_query.returns_no_rows` is false), and a trap worth keeping.

    Args:
        text: for example ``correlation_id=A^state!=7^ORDERBYDESCsys_created_on``.
        fields: the columns of the table.
    """
    groups: list[list[list[Condition]]] = [[]]
    order: list[tuple[str, bool]] = []
    ignored: list[str] = []
    for term in text.split("^"):
        if term in ("", "EQ"):
            continue
        if term.startswith("ORDERBY"):
            descending = term.startswith("ORDERBYDESC")
            name = term.removeprefix("ORDERBYDESC" if descending else "ORDERBY")
            if name in fields:
                order.append((name, descending))
            else:
                ignored.append(term)
            continue
        joined_by_or = term.startswith("OR")
        new_query = term.startswith("NQ")
        match = CONDITION.match(term[2:] if joined_by_or or new_query else term)
        if new_query:
            groups.append([])
        if match is None or match["field"] not in fields:
            ignored.append(term)
            continue
        condition = Condition(match["field"], match["op"], match["value"])
        if joined_by_or and groups[-1]:
            groups[-1][-1].append(condition)
        else:
            groups[-1].append([condition])
    frozen = tuple(tuple(tuple(alternatives) for alternatives in group) for group in groups)
    return Query(frozen, tuple(order), tuple(ignored))
