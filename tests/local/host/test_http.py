"""HTTP triggers of a running host."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.local.host.process import HostProcess, until

FAILURES = (
    "/raises",
    "/wrong",
    "/own-timeout",
    "/stop-iteration",
    "/exit/sync",
    "/exit/async",
    "/cancelled",
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    running = HostProcess("http", Path(tmp_path_factory.mktemp("http")))
    yield running
    running.close()


def test_the_ready_line_counts_the_functions_and_start_is_quick(host: HostProcess) -> None:
    assert host.ready.endswith("(15 functions)")
    assert host.start_s < 8  # 3 s on an idle machine; others share this one


def test_a_request_arrives_whole(host: HostProcess) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = host.http.post(
        "/echo/a%2Fb/c?x=1&x=2&y=%C3%A4", content=b"\x00\xff raw", headers={"X-Mixed": "Case", "traceparent": trace}
    )
    content = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert content["method"] == "POST"
    assert content["headers"]["x-mixed"] == "Case"
    assert content["params"] == {"x": "1,2", "y": "ä"}
    assert content["route"] == {"rest": "a/b/c"}
    assert content["body"] == "\x00\xff raw"
    assert content["function"] == "echo_all"
    assert content["trace"] == trace


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        pytest.param("GET", "/echo/exact", 200, "echo_exact", id="literal-beats-catch-all"),
        pytest.param("GET", "/ECHO/Exact", 200, "echo_exact", id="routes-ignore-case"),
        pytest.param("POST", "/echo/exact", 200, "echo_all", id="a-method-the-literal-lacks-falls-to-the-next-route"),
        pytest.param("GET", "/echo", 200, "echo_all", id="catch-all-may-be-empty"),
        pytest.param("GET", "/items/7", 200, "item 7", id="constraint-fits"),
        pytest.param("GET", "/items/seven", 404, "Not Found", id="constraint-does-not-fit"),
        pytest.param("DELETE", "/items/7", 404, "Not Found", id="wrong-method-is-404-as-in-the-real-host"),
        pytest.param("GET", "/side", 200, "side -", id="optional-parameter-absent"),
        pytest.param("DELETE", "/side/x", 200, "side x", id="no-methods-means-all"),
        pytest.param("GET", "/nowhere", 404, "Not Found", id="unknown-path"),
        pytest.param("GET", "/nothing", 204, "", id="no-return-value-is-204"),
    ],
)
def test_routing(host: HostProcess, method: str, path: str, status: int, text: str) -> None:
    answer = host.http.request(method, path)
    assert (answer.status_code, text in answer.text) == (status, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/a%0Ab"), ("POST", "/echo%0D%0AX: 1"), ("TRACE", "/echo"), ("MADE-UP", "/echo"), ("GET", "/items/7/")],
    ids=["line-break", "header-injection", "trace", "unknown-method", "slash-at-the-end"],
)
def test_whatever_is_asked_the_answer_is_ours(host: HostProcess, method: str, path: str) -> None:
    answer = host.http.request(method, path)
    found = answer.status_code == 200
    assert found or answer.headers["content-type"] == "application/problem+json"
    assert found is (path == "/items/7/")
    assert "x" not in answer.headers


def test_head_runs_the_get_function_without_a_body(host: HostProcess) -> None:
    answer = host.http.head("/items/7")
    assert (answer.status_code, answer.content) == (200, b"")


def test_options_names_the_methods(host: HostProcess) -> None:
    answer = host.http.request("OPTIONS", "/items/7")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, OPTIONS")


def test_cookies_headers_and_bytes_of_an_answer(host: HostProcess) -> None:
    answer = host.http.get("/cookies")
    assert answer.status_code == 201
    assert answer.content == bytes(range(256))
    assert answer.headers["x-own"] == "yes"
    cookies = answer.headers.get_list("set-cookie")
    assert [cookie.split(";")[0] for cookie in cookies] == ["a=1", "b=2"]


@pytest.mark.parametrize("path", FAILURES)
def test_a_failure_is_500_with_an_invocation_id_and_no_traceback(host: HostProcess, path: str) -> None:
    answer = host.http.get(path)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    invocation_id = answer.json()["invocationId"]
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text
    assert until(lambda: invocation_id in host.stderr())


def test_the_log_has_the_traceback(host: HostProcess) -> None:
    host.http.get("/raises")
    assert until(lambda: "RuntimeError: a secret detail" in host.stderr())


@pytest.mark.parametrize("path", ["/slow/sync", "/slow/async"])
def test_a_function_past_its_time_limit_is_500(host: HostProcess, path: str) -> None:
    answer = host.http.get(path)
    assert answer.status_code == 500
    assert answer.elapsed.total_seconds() < 1.5
    assert until(lambda: host.http.get("/admin/host/status").json()["overrun"] == 0, 5)


def test_too_large_a_body_is_413(host: HostProcess) -> None:
    connection = HTTPConnection("127.0.0.1", host.http.base_url.port, timeout=5)
    connection.putrequest("POST", "/echo/x")
    connection.putheader("Content-Length", "104857601")
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_status_lists_the_functions(host: HostProcess) -> None:
    status = host.http.get("/admin/host/status").json()
    assert status["state"] == "running"
    assert status["durable"] == "none"
    assert {"name": "echo_all", "type": "httpTrigger"} in status["functions"]


@pytest.mark.parametrize("header", [{"origin": "http://evil.example"}, {"host": "evil.example"}])
def test_own_paths_refuse_web_pages_and_foreign_names(host: HostProcess, header: dict[str, str]) -> None:
    assert host.http.get("/admin/host/status", headers=header).status_code == 403
    assert host.http.get("/items/7", headers=header).status_code == 200
