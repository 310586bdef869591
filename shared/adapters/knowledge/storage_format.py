"""Markdown as Confluence storage format.

In: a document's Markdown, front matter included. Out: XHTML with Confluence's macros that is known to parse.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

import yaml
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from shared.model.errors import PermanentError, Reason

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
_OPEN = '<page xmlns:ac="urn:ac" xmlns:ri="urn:ri">'
_LANGUAGES = {  # of the code macro; an unknown one shows an error on the page
    "bash": "bash",
    "sh": "bash",
    "shell": "bash",
    "diff": "diff",
    "java": "java",
    "javascript": "javascript",
    "js": "javascript",
    "powershell": "powershell",
    "python": "py",
    "py": "py",
    "ruby": "ruby",
    "sql": "sql",
    "xml": "xml",
    "yaml": "yml",
    "yml": "yml",
}


def to_storage(markdown: str, title: str) -> str:
    """Translate a document.

    Args:
        markdown: CommonMark with tables; raw HTML in it is shown as text.
        title: a first heading that repeats it is left out, since Confluence shows the title itself.

    Raises:
        PermanentError: the result does not parse (reason ``bad_input``); Confluence would answer 400.
    """
    text = _NOT_XML.sub("", markdown.replace("\r\n", "\n"))
    table = ""
    found = _FRONT_MATTER.match(text)
    if found:
        table, text = _front_matter(found[1]), text[found.end() :]
    heading, _, rest = text.lstrip("\n").partition("\n")
    if heading.strip() == f"# {_NOT_XML.sub('', title).strip()}":
        text = rest
    return well_formed(table + _markdown().render(text))


def well_formed(storage: str) -> str:
    """The text itself, once it has been seen to parse.

    Raises:
        PermanentError: it does not (reason ``bad_input``).
    """
    try:
        ElementTree.fromstring(f"{_OPEN}{storage}</page>")  # noqa: S314 - our own output, and nothing declares entities
    except ElementTree.ParseError as cause:
        raise PermanentError(f"the page would not parse: {cause}", Reason.BAD_INPUT) from cause
    return storage


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{_escaped(text)}</p>"


def panel(name: str, inner: str) -> str:
    """A panel macro such as ``info`` or ``note`` around storage format."""
    return (
        f'<ac:structured-macro ac:name="{name}"><ac:rich-text-body>{inner}</ac:rich-text-body></ac:structured-macro>\n'
    )


def code(text: str, language: str = "") -> str:
    """The code macro; ``]]>`` in the text is split over two sections, the only way to write it."""
    body = _NOT_XML.sub("", text).replace("]]>", "]]]]><![CDATA[>")
    known = _LANGUAGES.get(language.lower(), "")
    parameter = f'<ac:parameter ac:name="language">{known}</ac:parameter>' if known else ""
    return (
        f'<ac:structured-macro ac:name="code">{parameter}'
        f"<ac:plain-text-body><![CDATA[{body}]]></ac:plain-text-body></ac:structured-macro>\n"
    )


def _escaped(text: str) -> str:
    return html.escape(_NOT_XML.sub("", text), quote=True)


def _front_matter(text: str) -> str:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        return code(text, "yaml")
    if not isinstance(values, dict) or not values:
        return code(text, "yaml")
    rows = "".join(f"<tr><th>{_escaped(str(k))}</th><td>{_escaped(_shown(v))}</td></tr>" for k, v in values.items())
    return panel("info", f"<table><tbody>{rows}</tbody></table>")


def _shown(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(str(item) for item in value)
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "xhtmlOut": True}).enable("table")
    markdown.add_render_rule("fence", _fence)
    markdown.add_render_rule("code_block", _code_block)
    markdown.add_render_rule("image", _image)
    return markdown


def _fence(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Mapping[str, Any]
) -> str:
    words = tokens[index].info.split()
    return code(tokens[index].content.removesuffix("\n"), words[0] if words else "")


def _code_block(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Mapping[str, Any]
) -> str:
    return code(tokens[index].content.removesuffix("\n"))


def _image(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: Mapping[str, Any]
) -> str:
    """A link instead of the picture: what a page loads tells the picture's owner who reads it."""
    source = html.escape(str(tokens[index].attrs.get("src", "")), quote=True)
    return f'<a href="{source}">{_escaped(tokens[index].content) or source}</a>'
