"""What a person sees on a portal page: the form to fill in, and the message.

In: the HTML of one of our own pages. Out: fields and texts.
"""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = frozenset({"input", "br", "img", "meta", "link", "option", "line", "polygon", "polyline"})


class Page(HTMLParser):
    """A page of the portal.

    Attributes:
        texts: text of every element that has an id.
        forms: fields with their values, by the form's address; for buttons, all values of the name.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.forms: dict[str, dict[str, list[str]]] = {}
        self._open: list[tuple[str, str]] = []
        self._form: dict[str, list[str]] = {}
        self.feed(html)

    def hidden(self, action: str) -> dict[str, str]:
        """Values of a form that were filled in by the page."""
        return {name: values[0] for name, values in self.forms.get(action, {}).items() if values}

    def text(self, *ids: str) -> str:
        """The first of these elements that has a text, on one line."""
        return next((" ".join(self.texts[i].split()) for i in ids if self.texts.get(i, "").strip()), "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self.forms.setdefault(given.get("action", ""), {})
        if tag in ("input", "button") and given.get("name"):
            self._form.setdefault(given["name"], []).append(given.get("value", ""))
        if tag not in _VOID:
            self._open.append((tag, given.get("id", "")))

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        while self._open and any(name == tag for name, _ in self._open):
            if self._open.pop()[0] == tag:
                break

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        for _, name in self._open:
            if name:
                self.texts[name] = self.texts.get(name, "") + data
