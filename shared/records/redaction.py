"""Hiding what looks like a secret.

In: a body as it arrived, of any form. Out: the same body, byte for byte, or one with ``[redacted]`` in it.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import orjson

HIDDEN = "[redacted]"
_LONG_NAME_CHARS = 200  # nobody's setting; not worth a place in the cache

# `design` and `assignment` are no secrets: short words count as a whole part of a name only.
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_WORDS = frozenset({"pwd", "sig", "signature", "sas", "token", "tokens", "jwt", "cookie", "cookies", "bearer"})
_ANYWHERE = re.compile(
    r"password|passwd|passphrase|secret|authori[sz]ation|credential|connectionstring|token$"
    r"|(?:api|private|account|access|functions|subscription|signing|encryption|master)keys?(?!name)"
)
_IN_ADDRESS = frozenset({"code", "key"})  # as parameters of an address they open doors, elsewhere they are words

_NAMED = re.compile(r"""(?<![\w.-])(?P<name>[\w.-]++)(?:\\*["']\s*:\s*|(?:\\*["'])?[ \t]*[:=][ \t]*)""")
_BARE = re.compile(r"""(?:(?:bearer|basic|digest|sharedaccesssignature)[ \t]+)?[^\s&;"'<>]*""", re.IGNORECASE)
_QUOTE = re.compile(r"""(\\*)(["'])""")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_BEARER = re.compile(
    r"""\b(bearer[ \t]+)(?!\[redacted\])[^\s"',;<>]++|\b(basic[ \t]+)(?=[a-z+/]*[\d=])[a-z\d+/]{6,}+=*""", re.IGNORECASE
)
_LOGIN = re.compile(r"(://[^\s/:@\"]{0,200}:)[^\s/@\"]++(?=@)")


# What every secret that is looked for leaves in a body, so that most bodies need not be walked (see `_harmless`).
_LETTERS = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_NO_LETTERS = bytes(code for code in range(256) if not (65 <= code <= 90 or 97 <= code <= 122))
_TRACES = (
    *(b"passw", b"passphrase", b"secret", b"authori", b"credential", b"connectionstring"),
    *(b"token", b"signature", b"cookie", b"bearer", b"pwd", b"jwt"),
)
_KEYS = tuple(
    f"{of}key".encode()
    for of in ("api", "private", "account", "access", "functions", "subscription", "signing", "encryption", "master")
)
_SHORT = (b"sig", b"sas")  # parts of many harmless words
_SPELLED = (b"?code", b"&code", b"?key", b"&key", b"basic ", b"basic\t")
_LOGIN_BYTES = re.compile(rb"://[^\s/:@\"]{0,800}:[^\s/@\"]+@")


def redact(body: bytes) -> bytes:
    """The body with what looks like a secret replaced.

    JSON is walked: a member with a secret's name loses its value, whatever that is. All texts, and bodies that are
    not JSON, lose ``name=value`` and ``name: value`` with such a name, bearer tokens, and passwords in addresses.

    Returns:
        The very same bytes when nothing was found.
    """
    if _harmless(body):
        return body
    return _redacted(body)


def _redacted(body: bytes) -> bytes:
    try:
        walk = _Walk()
        found = walk.read(body)
        if not walk.hidden:
            return body
        return _dumped(found)
    except (ValueError, RecursionError):
        words = body.decode("utf-8", "surrogateescape")
        return _words(words).encode("utf-8", "surrogateescape")


def _harmless(body: bytes) -> bool:
    """Whether nothing in a body can be a secret; seen without walking it, and false whenever that is not certain.

    A name is a secret's by its letters alone, so the letters of the body must hold those of a name that is.
    """
    if b"\0" in body:
        return False  # of another encoding
    if b"\\" in body:
        try:
            orjson.loads(body)
        except orjson.JSONDecodeError:
            return False
        for written, meant in ((b"\\n", b"\n"), (b"\\r", b"\r"), (b"\\t", b"\t"), (b'\\"', b'"'), (b"\\/", b"/")):
            body = body.replace(written, meant)
        if b"\\" in body:
            return False  # other letters may be written so, and JSON within a text
    letters = body.translate(_LETTERS, _NO_LETTERS)
    if any(trace in letters for trace in _TRACES) or (b"key" in letters and any(key in letters for key in _KEYS)):
        return False
    lowered = body.lower()
    if any(spelled in lowered for spelled in _SPELLED):
        return False
    if any(short in letters and _stands_alone(short, lowered, body) for short in _SHORT):
        return False
    return b"@" not in body or _LOGIN_BYTES.search(body) is None


def _stands_alone(word: bytes, lowered: bytes, body: bytes) -> bool:
    """Whether a word may be a whole part of a name: no part ends before a small letter (see ``_PARTS``)."""
    start = lowered.find(word)
    while start >= 0:
        end = start + len(word)
        if not body[end : end + 1].islower():
            return True
        start = lowered.find(word, end)
    return False


def is_secret(name: str) -> bool:
    """Whether a member or parameter of this name holds a secret."""
    return _named(name) if len(name) <= _LONG_NAME_CHARS else _named.__wrapped__(name)


@lru_cache(maxsize=4096)
def _named(name: str) -> bool:
    parts = [part.lower() for part in _PARTS.findall(name)]
    return not _WORDS.isdisjoint(parts) or _ANYWHERE.search("".join(parts)) is not None


class _Walk:
    """One pass over a JSON text; objects are cleaned as the parser closes them, repeated members included."""

    def __init__(self) -> None:
        self.hidden = False

    def read(self, body: bytes | str) -> Any:
        return self._clean(json.loads(body, object_pairs_hook=self._object))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if is_secret(name):
                self.hidden = self.hidden or value != HIDDEN
                value = HIDDEN
            elif isinstance(value, str | list):
                value = self._clean(value)
            found[self._text(name)] = value
        return found

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        return [self._clean(one) for one in value] if isinstance(value, list) else value

    def _text(self, words: str) -> str:
        if words[:1] in ("{", "[") or words.lstrip()[:1] in ("{", "["):  # some senders put JSON into a text
            inner = _Walk()
            try:
                found = inner.read(words)
            except ValueError:
                pass
            else:
                self.hidden = self.hidden or inner.hidden
                return _dumped(found).decode() if inner.hidden else words
        clean = _words(words)
        self.hidden = self.hidden or clean != words
        return clean


def _dumped(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half characters exist as escapes only
        return json.dumps(value).encode()


def _words(words: str) -> str:
    """Text that is not JSON, or not whole."""
    if "=" in words or ":" in words:
        words = _LOGIN.sub(rf"\1{HIDDEN}", _assignments(words))
    return _BEARER.sub(lambda match: f"{match[1] or match[2]}{HIDDEN}", words) if " " in words else words


def _assignments(words: str) -> str:
    kept: list[str] = []
    done = position = 0
    while match := _NAMED.search(words, position):
        position = match.end()
        name = match["name"]
        in_address = match.start() and words[match.start() - 1] in "?&"
        if is_secret(name) or (in_address and name.lower() in _IN_ADDRESS):
            position, shown = _value(words, match.end())
            kept += (words[done : match.end()], shown)
            done = position
    return "".join((*kept, words[done:]))


def _value(words: str, start: int) -> tuple[int, str]:
    """Where a value ends, and what is shown of it: its quotes. A value without an end ends with the text."""
    quote = _QUOTE.match(words, start)
    if quote:
        for end in _QUOTE.finditer(words, quote.end()):
            slashes = len(end[1])
            closes = slashes <= len(quote[1]) if quote[1] else slashes % 2 == 0
            if end[2] == quote[2] and closes:
                return end.end(), f"{quote[0]}{HIDDEN}{end[0][slashes - len(quote[1]) :] if quote[1] else end[2]}"
        return len(words), f"{quote[0]}{HIDDEN}"
    if words[start : start + 1] in ("[", "{") and not words.startswith(HIDDEN, start):
        depth = 0
        for bracket in _BRACKETS.finditer(words, start):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
            if depth == 0:
                return bracket.end(), f'"{HIDDEN}"'
        return len(words), f'"{HIDDEN}"'
    bare = _BARE.match(words, start)
    return (bare.end(), HIDDEN if bare[0] else "") if bare else (start, "")
