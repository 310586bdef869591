"""Any Markdown becomes storage format that parses, and keeps its words."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.sandbox.confluence.storage_format import storage_problem
from shared.adapters.knowledge.storage_format import code, panel, to_storage, well_formed
from shared.model.errors import PermanentError

PIECES = st.sampled_from(
    (
        *("# T\n", "```\n", "```python\n", "]]>", "<script>", "&nbsp;", "<br>", "\x00", "---\n", "`a`"),
        *("[x](http://a.example/?a=b&c=d)", "![i](x.png)", "    code\n", "> q\n", "- a\n", "\n", "&", "<", "\ud800"),
        "| a | b |\n|---|---|\n",
    )
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES | st.text(max_size=20), max_size=25).map("".join), st.text(max_size=10))
def test_anything_parses(markdown: str, title: str) -> None:
    assert storage_problem(to_storage(markdown, title)) == ""


def test_front_matter_becomes_a_table_and_the_repeated_title_goes() -> None:
    storage = to_storage("---\nid: a<b\nmatches: [5xx, slow]\nrisk: {level: low}\n---\n\n# Title\n\nText\n", "Title")
    assert '<ac:structured-macro ac:name="info">' in storage
    assert "<th>id</th><td>a&lt;b</td>" in storage
    assert "<td>5xx, slow</td>" in storage
    assert "{&quot;level&quot;: &quot;low&quot;}" in storage
    assert "<h1>" not in storage
    assert "<p>Text</p>" in storage


@pytest.mark.parametrize("front", ["just words", "a: [", "- x\n- y"])
def test_front_matter_that_is_none_is_shown_as_it_is(front: str) -> None:
    assert front in to_storage(f"---\n{front}\n---\ntext", "t")


def test_code_is_a_macro_with_a_language_confluence_knows() -> None:
    assert '<ac:parameter ac:name="language">bash</ac:parameter>' in to_storage("```sh\nls\n```\n", "t")
    assert "language" not in to_storage("```brainfuck\n+\n```\n", "t")
    tree = ElementTree.fromstring(f'<p xmlns:ac="urn:ac">{code("a ]]> b")}</p>')
    assert tree.findtext(".//{urn:ac}plain-text-body") == "a ]]> b"


def test_nothing_is_loaded_and_nothing_is_run() -> None:
    storage = to_storage("![logo](https://e.example/a.png)\n\n[x](javascript:alert(1))\n\n<img src=x>\n", "t")
    assert "<img" not in storage
    assert '<a href="https://e.example/a.png">logo</a>' in storage
    assert 'href="javascript' not in storage


def test_what_does_not_parse_is_never_sent() -> None:
    with pytest.raises(PermanentError):
        well_formed(panel("info", "<p>"))
