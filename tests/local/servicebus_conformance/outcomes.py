"""What became of each test and check, told while it runs and as a table at the end.

In: one ``Outcome`` after the other. Out: lines of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill


@dataclass(frozen=True, slots=True)
class Outcome:
    """One test or check; ``text`` is the reason of a skip or the trace of a failure."""

    name: str
    outcome: str
    seconds: float
    text: str = ""


def progress(found: Outcome, number: int, total: int) -> str:
    """The line for a test that has just ended."""
    return f"[{number}/{total}] {found.outcome:<7} {found.seconds:6.1f} s  {found.name}"


def summary(title: str, outcomes: Sequence[Outcome], expected: int) -> str:
    """Passed, failed and skipped, every failure with its trace, every skip with its reason."""
    kinds = {kind: [each for each in outcomes if each.outcome == kind] for kind in ("passed", "failed", "skipped")}
    lines = ["", f"== {title}: " + ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items())]
    if len(outcomes) != expected:
        lines.append(f"   {expected - len(outcomes)} of {expected} did not finish")
    for each in kinds["failed"]:
        lines += ["", f"-- failed: {each.name}", each.text.rstrip()]
    if kinds["skipped"]:
        lines += ["", "skipped, and why:"]
    for each in kinds["skipped"]:
        lines += [f"  {each.name}", fill(each.text, 110, initial_indent="      ", subsequent_indent="      ")]
    return "\n".join(lines)


def all_well(outcomes: Sequence[Outcome], expected: int) -> bool:
    """Whether everything ran and nothing failed."""
    return expected > 0 and len(outcomes) == expected and all(each.outcome != "failed" for each in outcomes)
