"""A transaction as the Table service wants it: requests in a changeset in a batch, and the answers the same way.

In: single requests, or the body of an answer. Out: the other one.

Source: learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions, read 2026-11-21.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_BOUNDARY = re.compile(rb"multipart/mixed\s*;.*?boundary=\"?([^\s;\"]+)", re.I | re.S)
_TYPE = re.compile(rb"^content-type:[ \t]*(.*?)[ \t]*$", re.I | re.M)
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_ETAG = re.compile(rb"^etag:[ \t]*(.*?)[ \t]*$", re.I | re.M)


@dataclass(frozen=True, slots=True)
class Single:
    """The answer to one operation.

    Attributes:
        etag: empty when there is none.
    """

    status: int
    etag: str
    body: bytes


def written(requests: Iterable[tuple[str, str, str, bytes]]) -> tuple[str, bytes]:
    """Content type and body of a batch.

    Args:
        requests: method, whole address, headers (each line with its end) and body.
    """
    batch, changes = f"batch_{secrets.token_hex(16)}", f"changeset_{secrets.token_hex(16)}"
    begin = f"--{changes}\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: "
    pieces = [f"--{batch}\r\nContent-Type: multipart/mixed; boundary={changes}\r\n\r\n".encode()]
    for number, (method, address, headers, body) in enumerate(requests):
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        pieces.append(f"{begin}{number}\r\n\r\n{method} {address} HTTP/1.1\r\n{headers}{length}\r\n".encode())
        pieces += (body, b"\r\n")
    pieces.append(f"--{changes}--\r\n\r\n--{batch}--\r\n".encode())
    return f"multipart/mixed; boundary={batch}", b"".join(pieces)


def read(content_type: str, body: bytes) -> Sequence[Single]:
    """The answers in a batch's answer, in their order.

    Raises:
        ValueError: it is none, or was cut off.
    """
    parts = _parts(content_type.encode(), body)
    if len(parts) != 1:
        raise ValueError
    head, _, rest = parts[0].partition(b"\r\n\r\n")
    kind = _TYPE.search(head.replace(b"\r", b""))
    if kind and kind[1].lower().startswith(b"multipart/mixed"):
        parts = _parts(kind[1], rest)
    return [_single(part) for part in parts]


def _parts(content_type: bytes, body: bytes) -> list[bytes]:
    found = _BOUNDARY.match(content_type)
    if not found:
        raise ValueError
    between = b"\r\n--" + found[1]
    _, *pieces = (b"\r\n" + body).split(between)
    if not pieces or not pieces[-1].startswith(b"--"):
        raise ValueError
    return pieces[:-1]


def _single(part: bytes) -> Single:
    _, _, inner = part.partition(b"\r\n\r\n")
    head, between, body = inner.partition(b"\r\n\r\n")
    status = _STATUS.match(inner)
    if not status:
        raise ValueError
    if not between:  # an answer without headers or body may end early
        head = inner
    etag = _ETAG.search(head.replace(b"\r", b""))
    return Single(int(status[1]), etag[1].decode("ascii") if etag else "", body)
