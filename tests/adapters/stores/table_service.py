"""A strict HTTP stand-in for the Azure Table service, on loopback, that can be told to fail.

In: requests of the unmodified azure-data-tables. Out: the service's answers, or the fault that was ordered.

It keeps the rules of `table_rows`, wants a valid SharedKey signature, hides what its continuation tokens say as the
service does, and can cut pages short.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.adapters.stores.table_rows import Refusal, Rows, read_entity, shown

ACCOUNT = "argus"
MAX_BODY = 4 * 1024 * 1024
_ONE_ROW = re.compile(r"/(\w+)\(PartitionKey='((?:[^']|'')*)',RowKey='((?:[^']|'')*)'\)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request.

    Attributes:
        status: answered with this; 0 breaks the connection.
        code: of the error; empty answers with a body that is none.
        done: the request is carried out before.
        wait: nothing is answered until the stand-in is closed.
        body: answered in place of one that is none.
    """

    status: int = 0
    code: str = ""
    done: bool = False
    wait: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"<"


@dataclass(slots=True)
class TableService:
    """A running stand-in.

    Attributes:
        faults: for the next requests, one each.
        short: pages end after this many rows, with a token.
        mute: a refused transaction does not say which operation it was.
        seen: method and path of every request.
        connections: how many were made.
        agents: requests by who says to have made them.
        token: taken in place of a signature, unless it is empty.
    """

    rows: Rows = field(default_factory=Rows)
    faults: list[Fault | None] = field(default_factory=list)
    short: int = 0
    mute: bool = False
    seen: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    connections: int = 0
    agents: Counter[str] = field(default_factory=Counter)
    token: str = ""
    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(32)).decode())
    port: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def connection(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key};"
            f"TableEndpoint=http://127.0.0.1:{self.port}/{ACCOUNT}"
        )

    def answer(self, method: str, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """Carry a request out."""
        parts = urlsplit(url)
        path = parts.path.removeprefix(f"/{ACCOUNT}")
        given = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        try:
            if len(body) > MAX_BODY:
                raise Refusal("RequestBodyTooLarge")
            if path == "/$batch":
                return self._batch(headers, body)
            return self._one(method, path, given, headers, body)
        except Refusal as refusal:
            return error(refusal)

    def _one(self, method: str, path: str, given: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if "x-ms-version" not in headers or not headers.get("accept", "").startswith("application/json"):
            raise Refusal("MissingRequiredHeader")
        if method in ("POST", "PUT") and "json" not in headers.get("content-type", ""):
            raise Refusal("InvalidHeaderValue")
        if path == "/Tables" and method == "POST":
            self.rows.create(str(read_entity(body)["TableName"]))
            return Answer(201, {}, b"{}")
        found = _ONE_ROW.fullmatch(unquote(path))
        if found:
            table = found[1]
            partition, key = (text.replace("''", "'") for text in found.groups()[1:])
            return self._row(method, (table, partition, key), given, headers, body)
        table = path[1:].removesuffix("()")
        if method == "POST":
            etag = self.rows.insert(table, read_entity(body))
            quiet = headers.get("prefer") == "return-no-content"
            return Answer(204 if quiet else 201, {"ETag": etag}, b"" if quiet else body)
        if method == "GET" and path.endswith("()"):
            return self._page(table, given)
        raise Refusal("UnsupportedHttpVerb", 405)

    def _row(
        self, method: str, row: tuple[str, str, str], given: dict[str, str], headers: dict[str, str], body: bytes
    ) -> Answer:
        match = headers.get("if-match")
        if method == "GET":
            return Answer.json(200, shown(self.rows.find(*row), given.get("$select", "")))
        if method == "PUT":
            return Answer(204, {"ETag": self.rows.replace(*row, read_entity(body), match)}, b"")
        if method == "DELETE":
            self.rows.delete(*row, match)
            return Answer(204, {}, b"")
        raise Refusal("UnsupportedHttpVerb", 405)

    def _page(self, table: str, given: dict[str, str]) -> Answer:
        top = int(given.get("$top", "1000"))
        after = None
        if "NextPartitionKey" in given:
            after = _opened(given["NextPartitionKey"]), _opened(given["NextRowKey"])
        most = min(top, self.short) if self.short and 1 <= top <= 1000 else top
        found, more = self.rows.query(table, given.get("$filter", ""), most, after)
        answer = Answer.json(200, {"value": [shown(entity, given.get("$select", "")) for entity in found]})
        if more is not None:
            answer.headers["x-ms-continuation-NextPartitionKey"] = _hidden(more[0])
            answer.headers["x-ms-continuation-NextRowKey"] = _hidden(more[1])
        return answer

    def _batch(self, headers: dict[str, str], body: bytes) -> Answer:
        [changeset] = _parts(headers["content-type"], body)
        requests = [_request(part) for part in _parts(*_headed(changeset))]
        if not 1 <= len(requests) <= 100:
            raise Refusal("InvalidInput", text="The batch request operation exceeds the maximum 100 changes per set.")
        answers: list[Answer] = []
        named: set[str] = set()
        try:
            with self.rows.together():
                for method, url, its, content in requests:
                    target = _target(method, url, content)
                    if target in named:
                        raise Refusal("InvalidDuplicateRow")
                    named.add(target)
                    answers.append(self._one(method, urlsplit(url).path.removeprefix(f"/{ACCOUNT}"), {}, its, content))
        except Refusal as refusal:
            which = "" if self.mute else f"{len(answers)}:"
            answers = [error(Refusal(refusal.code, refusal.status, which + refusal.text))]
        lines = [b"--batchresponse_1", b"Content-Type: multipart/mixed; boundary=changesetresponse_1", b""]
        for answer in answers:
            lines += [b"--changesetresponse_1", b"Content-Type: application/http", b"Content-Transfer-Encoding: binary"]
            lines += [b"", b"HTTP/1.1 %d X" % answer.status]
            lines += [f"{name}: {value}".encode() for name, value in answer.headers.items()]
            lines += [b"", answer.body]
        whole = b"\r\n".join([*lines, b"--changesetresponse_1--", b"--batchresponse_1--", b""])
        return Answer(202, {"Content-Type": "multipart/mixed; boundary=batchresponse_1"}, whole)


@dataclass(slots=True)
class Answer:
    """Status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def json(cls, status: int, content: object) -> Answer:
        return cls(status, {"Content-Type": "application/json;odata=minimalmetadata"}, json.dumps(content).encode())


def error(refusal: Refusal) -> Answer:
    """An error as the service words it."""
    text = f"{refusal.text}\nRequestId:0\nTime:2026-11-20T10:00:00Z"
    said = {"odata.error": {"code": refusal.code, "message": {"lang": "en-US", "value": text}}}
    return Answer.json(refusal.status, said)


def _hidden(key: bytes) -> str:
    return "1!8!" + base64.urlsafe_b64encode(key).decode()


def _opened(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.removeprefix("1!8!"))


def _headed(part: bytes) -> tuple[str, bytes]:
    head, _, body = part.partition(b"\r\n\r\n")
    return _fields(head.split(b"\r\n"))["content-type"], body


def _fields(lines: list[bytes]) -> dict[str, str]:
    pairs = (line.decode().partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _parts(content_type: str, body: bytes) -> list[bytes]:
    found = re.search(r"boundary=([^;\s]+)", content_type)
    if not found:
        raise Refusal("InvalidInput")
    pieces = body.split(b"--" + found[1].encode())
    if pieces[-1].strip() != b"--":
        raise Refusal("InvalidInput")
    return [piece.removeprefix(b"\r\n").removesuffix(b"\r\n") for piece in pieces[1:-1]]


def _request(part: bytes) -> tuple[str, str, dict[str, str], bytes]:
    _, _, inner = part.partition(b"\r\n\r\n")
    head, _, body = inner.partition(b"\r\n\r\n")
    first, *rest = head.split(b"\r\n")
    method, url, _ = first.decode().split(" ")
    return method, url, _fields(rest), body


def _target(method: str, url: str, content: bytes) -> str:
    if method == "POST":
        entity = read_entity(content)
        return json.dumps([entity["PartitionKey"], entity["RowKey"]])
    found = _ONE_ROW.fullmatch(unquote(urlsplit(url).path.removeprefix(f"/{ACCOUNT}")))
    if not found:
        raise Refusal("InvalidInput")
    return json.dumps([text.replace("''", "'") for text in found.groups()[1:]])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    service: TableService

    def setup(self) -> None:
        super().setup()
        with self.service.rows.lock:
            self.service.connections += 1

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:  # the client gave up
            self.close_connection = True

    def do_GET(self) -> None:
        self._do()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def _do(self) -> None:
        service = self.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with service.rows.lock:
            service.urls.append(self.path)
            service.agents[headers.get("user-agent", "")] += 1
            service.seen.append(f"{self.command} {urlsplit(self.path).path}")
            fault = service.faults.pop(0) if service.faults else None
        if not self._signed(headers):
            answer = error(Refusal("AuthenticationFailed", 403, "Server failed to authenticate the request."))
        elif fault is None or fault.done:
            answer = service.answer(self.command, self.path, headers, body)
        if fault is not None:
            if fault.wait:
                service.closing.wait(30)
            if fault.status == 0:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            answer = (
                error(Refusal(fault.code, fault.status, "Told to."))
                if fault.code
                else Answer(fault.status, {}, fault.body)
            )
            answer.headers.update(fault.headers)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _signed(self, headers: dict[str, str]) -> bool:
        if not self._dated(headers):
            return False
        if self.service.token:
            return headers.get("authorization") == f"Bearer {self.service.token}"
        parts = (headers.get(name, "") for name in ("content-md5", "content-type", "x-ms-date"))
        text = "\n".join([self.command, *parts, f"/{ACCOUNT}{urlsplit(self.path).path}"])
        digest = hmac.digest(base64.b64decode(self.service.key), text.encode(), hashlib.sha256)
        return headers.get("authorization") == f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"

    @staticmethod
    def _dated(headers: dict[str, str]) -> bool:
        """The service takes a request for 15 minutes, so that nobody can play it back later."""
        try:
            moment = parsedate_to_datetime(headers.get("x-ms-date", ""))
        except ValueError:
            return False
        return abs(datetime.now(UTC) - moment) < timedelta(minutes=15)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64


@contextmanager
def table_service(tls: ssl.SSLContext | None = None) -> Iterator[TableService]:
    """A stand-in on a free port of loopback.

    Args:
        tls: with a certificate, to speak HTTPS.
    """
    service = TableService()
    handler = type("Handler", (_Handler,), {"service": service})
    with _Server(("127.0.0.1", 0), handler) as server:
        service.port = server.server_address[1]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield service
        finally:
            service.closing.set()
            server.shutdown()
            thread.join()
