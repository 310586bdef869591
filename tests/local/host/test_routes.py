"""The routing table by itself."""

from __future__ import annotations

import pytest

from local.host.routes import Found, RouteError, RouteTable

TABLE = RouteTable(
    "api",
    [
        ("all", "{*path}", None),
        ("page", "{page}", ["GET"]),
        ("home", "", ["GET"]),
        ("incident", "incidents/{id}", ["GET"]),
        ("number", "incidents/{id:int}", ["GET"]),
        ("new", "incidents/new", ["GET"]),
        ("act", "incidents/{id}", ["POST"]),
        ("maybe", "files/{kind}/{name?}", ["GET"]),
        ("flag", "flags/{on:bool}", ["GET"]),
    ],
)


@pytest.mark.parametrize(
    ("method", "path", "function", "parameters"),
    [
        pytest.param("GET", "/api", "home", {}, id="the-empty-template-is-the-prefix"),
        pytest.param("GET", "/api/", "home", {}, id="a-slash-at-the-end-changes-nothing"),
        pytest.param("GET", "/api/incidents/new", "new", {}, id="literal-first"),
        pytest.param("GET", "/api/incidents/12", "number", {"id": "12"}, id="constraint-before-parameter"),
        pytest.param("GET", "/api/incidents/x12", "incident", {"id": "x12"}, id="parameter"),
        pytest.param("POST", "/api/incidents/new", "act", {"id": "new"}, id="method-chooses-among-fitting-templates"),
        pytest.param("GET", "/API/Incidents/NEW", "new", {}, id="case-does-not-matter"),
        pytest.param("GET", "/api/incidents/a%2Fb", "incident", {"id": "a/b"}, id="an-encoded-slash-stays-inside"),
        pytest.param("GET", "/api/files/log", "maybe", {"kind": "log"}, id="optional-absent"),
        pytest.param("GET", "/api/files/log/x", "maybe", {"kind": "log", "name": "x"}, id="optional-present"),
        pytest.param("GET", "/api/flags/True", "flag", {"on": "True"}, id="bool"),
        pytest.param("GET", "/api/a/b/c", "all", {"path": "a/b/c"}, id="catch-all-last"),
        pytest.param("PUT", "/api/page", "all", {"path": "page"}, id="catch-all-takes-other-methods"),
    ],
)
def test_find(method: str, path: str, function: str, parameters: dict[str, str]) -> None:
    assert TABLE.find(method, path) == Found(function, parameters, frozenset())


def test_outside_the_prefix_nothing_answers() -> None:
    assert TABLE.find("GET", "/incidents/new") is None


def test_wrong_methods_name_the_right_ones() -> None:
    table = RouteTable("", [("a", "x", ["GET"]), ("b", "{y}", ["POST"])])
    assert table.find("PUT", "/x") == Found(None, {}, frozenset({"GET", "POST"}))


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("a/{*rest}/b", "only the last"),
        ("a/{x?}/b", "only the last"),
        ("a/x{y}", "not supported"),
        ("{a}/{A}", "there twice"),
        ("{a:regex(x)}", "not supported"),
        ("{a:date}", "constraint 'date'"),
        ("{}", "not supported"),
    ],
)
def test_templates_that_are_refused(template: str, error: str) -> None:
    with pytest.raises(RouteError, match=error):
        RouteTable("", [("f", template, None)])


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a/{x}", None), ("A/{y}", ["GET"])), (("a", ["GET", "POST"]), ("a", ["POST"]))],
)
def test_two_functions_cannot_share_a_route(
    one: tuple[str, list[str] | None], other: tuple[str, list[str] | None]
) -> None:
    with pytest.raises(RouteError, match="same route"):
        RouteTable("", [("f", *one), ("g", *other)])
