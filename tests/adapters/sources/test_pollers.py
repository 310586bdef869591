"""Probe and metrics page against a real server on loopback, and the text format by itself."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.adapters.registry import Surroundings
from shared.adapters.sources import POLLERS, exposition
from shared.config.schema import Service
from shared.model.signal import Signal, SignalKind
from shared.ports.source import Poller

DUE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PAGE = """\
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="get",status="200"} 1027 1395066363000
http_requests_total{method="post",status="200",} 3
http_requests_total{ method = "get" , status = "503" } 7
http_requests_total{method="get",status="500"} 2.5e1
latency_ms_bucket{le="+Inf"} 9 # {trace_id="x"} 0.5
odd_value NaN
plain_value -1
# EOF
"""


class Page:
    """What the server says next."""

    def __init__(self) -> None:
        self.status = 200
        self.body = PAGE.encode()
        self.drip_s = 0.0
        self.asked: list[str] = []
        self.url = ""


@pytest.fixture
def page() -> Iterator[Page]:
    said = Page()
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append(self.command)
            self.send_response(said.status)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            for start in range(0, len(said.body), 65_536 if not said.drip_s else 1):
                try:
                    self.wfile.write(said.body[start : start + (65_536 if not said.drip_s else 1)])
                except OSError:
                    return
                if said.drip_s and stopped.wait(said.drip_s):
                    return

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    said.url = f"http://127.0.0.1:{server.server_address[1]}/metrics"
    yield said
    stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def poller(product: str, services: dict[str, Service] | None = None, **section: Any) -> Poller:
    adapter = POLLERS[product]
    return adapter.build(
        "shop-poll", adapter.config.model_validate(section), Surroundings(Path(), services=services or {})
    )


def values(signals: tuple[Signal, ...]) -> dict[str, float | None]:
    return {signal.name: signal.value for signal in signals}


METRICS = [
    {"name": "http_requests", "metric": "http_requests_total"},
    {"name": "http_errors", "metric": "http_requests_total", "labels": {"status": "~5.."}},
    {"name": "deletes", "metric": "http_requests_total", "labels": {"method": "delete"}},
    {"name": "unlabelled", "metric": "http_requests_total", "labels": {"zone": ""}, "unit": "requests"},
    {"name": "missing", "metric": "no_such_total"},
    {"name": "odd", "metric": "odd_value"},
]


def test_series_are_summed(page: Page) -> None:
    found = poller("prometheus_text", url=page.url, service="shop", metrics=METRICS).poll(DUE)
    assert values(found) == {
        "scrape_success": 1.0,
        "http_requests": 1062.0,
        "http_errors": 32.0,
        "deletes": 0.0,
        "unlabelled": 1062.0,
    }
    assert {(s.kind, s.source, s.service, s.at, s.resource) for s in found} == {
        (SignalKind.SAMPLE, "shop-poll", "shop", DUE, page.url)
    }


def test_the_same_moment_gives_the_same_ids(page: Page) -> None:
    asking = poller("prometheus_text", url=page.url, metrics=METRICS)
    assert [s.id for s in asking.poll(DUE)] == [s.id for s in asking.poll(DUE)]
    assert len({s.id for s in asking.poll(DUE)}) == 5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(500, PAGE.encode(), id="server-error"),
        pytest.param(302, b"", id="redirect"),
        pytest.param(200, b"http_requests_total{ 1\n", id="half-a-line"),
        pytest.param(200, b"\xff\xfe 1\n", id="not-utf-8"),
        pytest.param(200, b"# " + b"x" * 6_000_000, id="too-large"),
    ],
)
def test_a_page_that_cannot_be_read_is_a_sample_too(page: Page, status: int, body: bytes) -> None:
    page.status, page.body = status, body
    assert values(poller("prometheus_text", url=page.url, metrics=METRICS).poll(DUE)) == {"scrape_success": 0.0}


def test_a_probe_tells_success_and_duration(page: Page) -> None:
    shop = {"shop": Service(environment="staging")}
    found = poller("probe", shop, url=page.url, service="shop", method="POST").poll(DUE)
    assert page.asked == ["POST"]
    success, duration = found
    assert (success.name, success.value, success.environment) == ("probe_success", 1.0, "staging")
    assert (duration.name, duration.unit) == ("probe_duration_ms", "ms")
    assert duration.value is not None
    assert 0 < duration.value < 5000
    page.status = 503
    assert values(poller("probe", url=page.url).poll(DUE))["probe_success"] == 0.0


@pytest.mark.parametrize("product", sorted(POLLERS))
def test_nobody_there_is_a_sample_too(product: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        (found,) = poller(product, url=url).poll(DUE)
    assert found.value == 0.0


@pytest.mark.parametrize("product", sorted(POLLERS))
def test_an_answer_in_drops_is_given_up(page: Page, product: str) -> None:
    page.drip_s = 0.05
    began = time.monotonic()
    (found,) = poller(product, url=page.url, timeout_s=0.2).poll(DUE)
    assert found.value == 0.0
    assert time.monotonic() - began < len(page.body) * page.drip_s / 2


@pytest.mark.parametrize("product", sorted(POLLERS))
@pytest.mark.parametrize("url", ["", "/healthz"])
def test_without_an_address_it_is_off(product: str, url: str) -> None:
    asking = poller(product, url=url)
    assert asking.poll(DUE) == ()
    assert asking.name == "shop-poll"


@pytest.mark.parametrize(
    "section",
    [
        {"url": "ftp://x"},
        {"url": "http://"},
        {"url": "http://user:pass@127.0.0.1/"},
        {"url": "http://127.0.0.1", "timeout_s": 0},
        {"url": "http://127.0.0.1", "metrics": [{"name": "a", "metric": "b", "labels": {"x": "~("}}]},
        {"link": "http://127.0.0.1"},
    ],
)
def test_bad_sections_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        POLLERS["prometheus_text"].config.model_validate(section)


def test_the_format_is_read_as_written() -> None:
    found = {(s.name, *sorted(s.labels.items())): s.value for s in exposition.parse(PAGE)}
    assert found[("http_requests_total", ("method", "get"), ("status", "200"))] == 1027
    assert found[("latency_ms_bucket", ("le", "+Inf"))] == 9
    assert math.isnan(found[("odd_value",)])
    assert found[("plain_value",)] == -1


@pytest.mark.parametrize(
    "line",
    [
        "1a 2",
        "a",
        "a{",
        'a{b="c} 1',
        "a{b=c} 1",
        "a b",
        "a 1 2 3",
        "a 1_0",
        "a 1 x",
        'a{b="c" d="e"} 1',
        "{} 1",
        "a{,} 1",
    ],
)
def test_what_is_not_the_format_names_its_line(line: str) -> None:
    with pytest.raises(exposition.BadExposition, match="line 2"):
        list(exposition.parse(f"ok 1\n{line}\n"))


_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True)
_SERIES = st.tuples(
    st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True),
    st.dictionaries(
        _NAMES, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8), max_size=3
    ),
    st.floats(),
    st.sampled_from(["", " 1395066363000", " -3"]),
)


@given(st.lists(_SERIES, max_size=5), st.sampled_from(["", "# a comment\n", "\n", "  \n"]))
def test_what_is_written_is_read_back(series: list[Any], between: str) -> None:
    page = between.join(written(*one) for one in series)
    found = [(one.name, dict(one.labels), repr(one.value)) for one in exposition.parse(page)]
    assert found == [(name, labels, repr(value)) for name, labels, value, _ in series]


def written(name: str, labels: dict[str, str], value: float, stamp: str) -> str:
    escape: Callable[[str], str] = lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")  # noqa: E731
    inside = ",".join(f'{label}="{escape(text)}"' for label, text in labels.items())
    shown = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(repr(value), repr(value))
    return f"{name}{{{inside}}} {shown}{stamp}\n"


@given(st.text(max_size=200))
def test_any_page_is_samples_or_refused(page: str) -> None:
    with suppress(exposition.BadExposition):
        assert all(one.name for one in exposition.parse(page))
