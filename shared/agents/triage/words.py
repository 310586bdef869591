"""Words of operational text: identifiers taken apart, inflection levelled, noise left out.

In: alert names, log lines, diffs, runbooks. Out: terms that can be compared across all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

MAX_TEXT_CHARS = 20_000  # untrusted text; what is longer says nothing more
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9]*|\d+(?:\.\d+)?")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_TIMED_OUT = re.compile(r"\btim(?:e|ed|ing)[ _-]out\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?=$|[^\w.]|[a-z]{1,3}\b|\.(?!\d))")
_STOP = frozenset(
    """a an and are as at be been but by can cannot could did do does for from had has have how if in into is it its
    more no not of off on one or our out over per so than that the their then there these they this to too up was were
    what when where which while who will with within would you your after before during any all also each other some
    such only same very just may might must should via using use used""".split()  # noqa: SIM905, a list of words reads best as words
)


@lru_cache(maxsize=128)  # the texts of runbooks, which every diagnosis is compared with
def terms(text: str) -> tuple[str, ...]:
    """The terms of a text in order: whole identifiers, their parts, and pairs of neighbours.

    Args:
        text: at most ``MAX_TEXT_CHARS`` are read.

    Returns:
        Lower-case terms; ``KubePodCrashLooping`` gives ``kubepodcrashlooping kube pod crash loop`` and the pairs
        ``kube_pod pod_crash crash_loop``. Numbers are kept.
    """
    found: list[str] = []
    previous = ""
    for word in _WORD.findall(_TIMED_OUT.sub("timeout", text[:MAX_TEXT_CHARS])):
        parts = [part for part in _CAMEL.findall(word) if part]
        if len(parts) > 1:
            found.append(word.lower())
        for part in parts:
            term = stem(part.lower())
            if (len(term) < 2 and not term.isdigit()) or term in _STOP:
                continue
            found.append(term)
            if previous and not term.isdigit():
                found.append(f"{previous}_{term}")
            previous = term if not term.isdigit() else ""
    return tuple(found)


def plain_terms(texts: Iterable[str]) -> frozenset[str]:
    """Single words of several texts: no pairs, no numbers."""
    return frozenset(
        term for text in texts for term in terms(text) if "_" not in term and not term.replace(".", "").isdigit()
    )


def stem(word: str) -> str:
    """A word without its commonest English endings; crude, and the same for both sides of a comparison."""
    for ending, least in (("ings", 4), ("ing", 4), ("ies", 3), ("ied", 3), ("ed", 4), ("es", 4), ("s", 3)):
        if word.endswith(ending) and len(word) - len(ending) >= least and not word.endswith("ss"):
            base = word[: -len(ending)]
            if ending in ("ies", "ied"):
                return base + "y"
            return base[:-1] if len(base) > 4 and base[-1] == base[-2] and base[-1] not in "ls" else base.rstrip("e")
    return word.rstrip("e") if len(word) > 4 else word


def numbers(text: str) -> frozenset[str]:
    """Numbers that stand for themselves, with a short unit or without: ``4``, ``800ms``; not parts of names."""
    return frozenset(_level(number) for number in _NUMBER.findall(text[:MAX_TEXT_CHARS]))


def _level(number: str) -> str:
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("+") or "0"
