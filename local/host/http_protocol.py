"""HTTP/1.1 on a connection: uvicorn with httptools where it is installed, h11 otherwise.

In: what is installed. Out: a protocol for `uvicorn.Config`.
"""

from __future__ import annotations

import asyncio
import importlib.util

_REFUSAL = (
    b'{"type": "about:blank", "title": "Bad Request", "status": 400,'
    b' "detail": "This is no HTTP/1.1 request, or its method is unknown."}'
)


def protocol() -> type[asyncio.Protocol]:
    """The quickest protocol there is; a request that it cannot read is answered as a problem, too.

    httptools knows the registered methods only, so a made-up one is a 400 there, where h11 leaves it to the routes and
    the answer is a 404.
    """
    if importlib.util.find_spec("httptools") is None:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return H11Protocol
    from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

    class Quick(HttpToolsProtocol):
        """Refuses in the words of the host."""

        def send_400_response(self, msg: str) -> None:
            """See uvicorn, which says it in plain text."""
            head = f"content-type: application/problem+json\r\ncontent-length: {len(_REFUSAL)}\r\nconnection: close"
            self.transport.write(STATUS_LINE[400] + head.encode() + b"\r\n\r\n" + _REFUSAL)
            self.transport.close()

    return Quick
