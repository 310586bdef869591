"""A bare AMQP peer on a blocking socket, for what the SDK would never send."""

import socket
import time
from typing import TypeVar

from local.servicebus.encode import described_list, encode, section
from local.servicebus.frames import Frame, FrameReader, Header, Protocol, frame_bytes
from local.servicebus.performatives import Attach, Begin, Flow, Open, Performative, SaslInit, Transfer
from local.servicebus.types import Described, ULong, Value
from tests.local.servicebus.test_cbs import token

P = TypeVar("P", bound=Performative)
VERSION = b"\x01\x00\x00"


class Peer:
    """Speaks frames; ``expect`` waits for the next one of a kind and passes over others."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._reader = FrameReader(1 << 20)
        self._seen: list[Header | Frame] = []

    def open(self, key: str, queue: str, *, max_frame: int = 65536, window: int = 1000) -> "Peer":
        """SASL, open, one session, and a token for a queue."""
        self.send_raw(
            Header(Protocol.SASL, VERSION).encode() + frame_bytes(0, SaslInit("ANONYMOUS").encode(), sasl=True)
        )
        self.wait_for(
            lambda item: isinstance(item, Frame) and item.sasl and item.body is not None and item.body.CODE == 0x44
        )
        self._reader.expect_header()
        self.send_raw(Header(Protocol.AMQP, VERSION).encode())
        self.send(Open("peer", None, max_frame))
        self.send(Begin(None, 0, window, 1000))
        self.expect(Begin)
        self.attach(100, "$cbs", role=True)
        self.send(Flow(1, window, 0, 1000, 100, 0, 10))
        self.attach(101, "$cbs", role=False)
        self.expect(Flow)
        resource = f"sb://localhost/{queue}"
        request = cbs_request(resource, token(resource, int(time.time()) + 4000, key))
        self.send(Transfer(101, 0, b"t", 0, True), request)
        self.expect(Transfer)
        return self

    def attach(self, handle: int, address: str, *, role: bool, settle: int = 0, code: int | None = None) -> Attach:
        source = Described(ULong(0x28), [address])
        target = Described(ULong(code or 0x29), [address])
        count = None if role else 0
        self.send(Attach(f"link{handle}", handle, role, settle, 0, source, target, initial_delivery_count=count))
        return self.expect(Attach)[0]

    def send(self, body: Performative, payload: bytes = b"", channel: int = 0) -> None:
        self.send_raw(frame_bytes(channel, body.encode(), payload))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def expect(self, kind: type[P]) -> tuple[P, bytes]:
        frame = self.wait_for(lambda item: isinstance(item, Frame) and isinstance(item.body, kind))
        assert isinstance(frame, Frame)
        assert isinstance(frame.body, kind)
        return frame.body, frame.payload

    def wait_for(self, wanted: object) -> Header | Frame:
        assert callable(wanted)
        while True:
            while self._seen:
                item = self._seen.pop(0)
                if wanted(item):
                    return item
            data = self.socket.recv(65536)
            assert data, "the broker closed the connection"
            self._reader.feed(data)
            for item in self._reader.read():
                self._seen.append(item)
                if isinstance(item, Frame) and item.sasl and item.body is not None and item.body.CODE == 0x44:
                    break

    def closed(self) -> bytes:
        """Everything until the broker closes; fails by time-out when it does not."""
        rest = b""
        while data := self.socket.recv(65536):
            rest += data
        return rest

    def close(self) -> None:
        self.socket.close()


def cbs_request(resource: str, token_text: str) -> bytes:
    application: dict[Value, Value] = {"operation": "put-token", "name": resource, "type": "x"}
    head = described_list(0x73, ["request-1"]) + section(0x74, encode(application))
    return head + section(0x77, encode(token_text))
