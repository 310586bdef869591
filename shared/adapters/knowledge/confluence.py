"""Confluence Cloud pages through ConfluenceV2 and the calls it lacks.

In: document drafts. Out: one page per document in one space, never over somebody's edit.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, SecretStr, model_validator

from shared.adapters import http
from shared.adapters.knowledge.storage_format import panel, paragraph, to_storage, well_formed
from shared.adapters.registry import Surroundings
from shared.config.schema import Section
from shared.model.document import DocumentDraft
from shared.model.errors import ArgusError, PermanentError, Reason, TransientError
from shared.ports.knowledge import Published

SYSTEM = "Confluence"
PROPERTY = "argus.source"
MAX_TITLE_CHARS = 250  # Confluence takes 255
GENERATOR = "1"  # raise it when the same Markdown gives another page
_STAMP = re.compile(r"argus:([0-9a-f]{16}):([0-9a-f]{16})")
_NOT_IN_LABEL = re.compile(r"[^a-z0-9_-]+")


class ConfluenceConfig(Section):
    """One space of one Confluence Cloud site."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(description="Address of the site, such as `https://example.atlassian.net`, without `/wiki`.")
    user: str = Field(default="", description="E-mail of the account the token belongs to; empty: `token` is a bearer.")
    token: SecretStr = Field(description="API token.")
    space: str = Field(pattern=r"^[A-Za-z0-9~._-]{1,255}$", description="Key of the space.")
    parent_id: str = Field(default="", pattern=r"^[0-9]*$", description="Id of the page new pages are put below.")
    labels: tuple[str, ...] = Field(default=("argus",), description="Labels of every page.")
    timeout_s: int = Field(default=10, gt=0, le=10, description="Longest wait for an answer, in whole seconds.")

    @model_validator(mode="after")
    def _address(self) -> ConfluenceConfig:
        problem = http.address_problem(self.url)
        if problem:
            raise ValueError(problem)
        return self


@dataclass(frozen=True, slots=True)
class _Page:
    """A draft as it goes out: ``owner`` and ``digest`` are written into the page and tell whose text stands there."""

    title: str
    owner: str
    digest: str
    storage: str


class ConfluenceKnowledge:
    """Publishes pages."""

    def __init__(self, config: ConfluenceConfig) -> None:
        self._config = config
        parts = urlsplit(config.url.rstrip("/"))
        self._wiki = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/wiki')}/wiki"

    def publish(self, draft: DocumentDraft) -> Published:
        """Create or update the page; see the port `shared.ports.knowledge`."""
        wanted = _page_of(draft)
        try:
            return self._publish(draft, wanted)
        except PermanentError as failure:
            if failure.reason is not Reason.CONFLICT or isinstance(failure, _Kept):
                raise
        return self._publish(draft, wanted)  # somebody saved in between: look again, once

    def _publish(self, draft: DocumentDraft, wanted: _Page) -> Published:
        space_id = self._space_id()
        for title in (wanted.title, f"{wanted.title[: MAX_TITLE_CHARS - len(draft.slug) - 3]} ({draft.slug})"):
            page = self._find(space_id, title)
            if page is None:
                return self._create(draft, wanted, space_id, title)
            kept = self._kept(page)
            stamp = _STAMP.search(_body(page))
            if (kept or {}).get("owner", stamp[1] if stamp else "") == wanted.owner:
                return self._update(draft, wanted, page, kept)
        raise _Kept(f"{SYSTEM} has other pages called {wanted.title[:80]!r}", Reason.CONFLICT)

    def _create(self, draft: DocumentDraft, wanted: _Page, space_id: str, title: str) -> Published:
        parent = self._config.parent_id or None
        page = self._write(
            lambda v: v.create_page(
                space_id=space_id, title=title, body=wanted.storage, parent_id=parent, representation="storage"
            )
        )
        self._finish(draft, wanted, page, None)
        return Published(self._address(page), True)

    def _update(
        self, draft: DocumentDraft, wanted: _Page, page: dict[str, Any], kept: dict[str, Any] | None
    ) -> Published:
        number = _version(page)
        stamp = _STAMP.search(_body(page))
        digest = stamp[2] if stamp else ""
        if kept is None:
            ours = number == 1 and bool(digest)  # created, and then we were stopped before the property was written
        else:
            # One version ahead with another digest: our own update, stopped before the property followed.
            ours = number == kept["version"] or (number == kept["version"] + 1 and digest not in ("", kept["digest"]))
        if kept is not None and kept["digest"] == wanted.digest:
            return Published(self._address(page), False)
        if not ours:
            raise _Kept(f"somebody edited {page.get('title')!r:.80} in {SYSTEM}; it is left alone", Reason.CONFLICT)
        changed = digest != wanted.digest
        if changed:
            page = self._write(
                lambda v: v.update_page(
                    page["id"],
                    title=page["title"],
                    body=wanted.storage,
                    status="current",
                    version=number,  # the library sends the next one
                    representation="storage",
                )
            )
        self._finish(draft, wanted, page, kept)
        return Published(self._address(page), changed)

    def _finish(self, draft: DocumentDraft, wanted: _Page, page: dict[str, Any], kept: dict[str, Any] | None) -> None:
        """Labels, then the property: it is written last, so that it stands for everything before it."""
        page_id = str(page["id"])
        names = dict.fromkeys(filter(None, map(_label, (*self._config.labels, draft.kind.value, draft.service))))
        labels = [{"prefix": "global", "name": name} for name in names]
        value = {
            "owner": wanted.owner,
            "document": draft.id,
            "incident": draft.incident_id,
            "digest": wanted.digest,
            "version": _version(page),
            "generator": GENERATOR,
        }
        try:
            if labels:
                self._ask(lambda v: v.post(f"rest/api/content/{page_id}/label", data=labels))
            if kept is None:
                data = {"key": PROPERTY, "value": value}
                self._write(lambda v: v.create_v2_content_property("page", page_id, data))
            else:
                data = {"key": PROPERTY, "value": value, "version": {"number": kept["number"] + 1}}
                self._write(lambda v: v.update_v2_content_property("page", page_id, kept["id"], data))
        except TransientError as failure:
            failure.sent = None  # the page is there already
            raise

    def _space_id(self) -> str:
        spaces = self._list("api/v2/spaces", {"keys": self._config.space})
        for space in spaces:
            if space.get("key") == self._config.space and space.get("id"):
                return str(space["id"])
        raise PermanentError(f"{SYSTEM} has no space {self._config.space}", Reason.NOT_FOUND)

    def _find(self, space_id: str, title: str) -> dict[str, Any] | None:
        # Not get_page_by_title: it answers "no such page" when the question failed, and then a second page is made.
        asked = {"space-id": space_id, "title": title, "status": "current", "body-format": "storage"}
        pages = [page for page in self._list("api/v2/pages", asked) if page.get("title") == title and page.get("id")]
        return pages[0] if pages else None

    def _kept(self, page: dict[str, Any]) -> dict[str, Any] | None:
        """What we noted about a page, with the property's own id and version number."""
        for entry in self._list(f"api/v2/pages/{page['id']}/properties", {"key": PROPERTY}):
            value, version = entry.get("value"), entry.get("version")
            if entry.get("key") != PROPERTY or not isinstance(value, dict) or not isinstance(version, dict):
                continue
            if isinstance(value.get("version"), int) and isinstance(version.get("number"), int):
                mine = {name: str(value.get(name, "")) for name in ("owner", "digest")}
                return {**mine, "version": value["version"], "id": str(entry.get("id")), "number": version["number"]}
        return None

    def _list(self, path: str, params: dict[str, str]) -> list[dict[str, Any]]:
        try:
            answer = self._ask(lambda v: v.get(path, params=params))
        except TransientError as failure:
            failure.sent = False  # reading changes nothing
            raise
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
            raise TransientError(f"{SYSTEM} gave an unreadable answer", Reason.UNAVAILABLE)
        return results

    def _write(self, ask: Callable[[Any], Any]) -> dict[str, Any]:
        answer = self._ask(ask)
        if not isinstance(answer, dict) or not answer.get("id"):
            raise http.unreadable(SYSTEM)
        return answer

    def _ask(self, ask: Callable[[Any], Any]) -> Any:
        from requests import RequestException

        failure: ArgusError
        try:
            return ask(self._client)
        except RequestException as cause:
            failure = http.broken_off(SYSTEM, cause)
        raise failure

    def _address(self, page: dict[str, Any]) -> str:
        """Below the configured site, whatever host the answer names."""
        links = page.get("_links")
        path = links.get("webui") if isinstance(links, dict) else None
        if not isinstance(path, str) or not path.startswith("/"):
            path = f"/spaces/{self._config.space}/pages/{page['id']}"
        return self._wiki + path

    @cached_property
    def _client(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it warns about methods nobody calls here
            from atlassian import ConfluenceV2

            token, user = self._config.token.get_secret_value(), self._config.user
            return ConfluenceV2(
                self._wiki,
                session=http.strict_session(),
                timeout=self._config.timeout_s,
                backoff_and_retry=False,
                retry_with_header=False,  # it would sleep for as long as the far side says, up to half an hour
                **({"username": user, "password": token} if user else {"token": token}),
            )


class _Kept(PermanentError):
    """A conflict that looking again does not solve: a person's text stands there."""


def _page_of(draft: DocumentDraft) -> _Page:
    title = " ".join(draft.title.split())[:MAX_TITLE_CHARS] or draft.slug
    body = to_storage(draft.markdown, title)
    owner = hashlib.sha256(draft.id.encode()).hexdigest()[:16]
    digest = hashlib.sha256("\n".join((GENERATOR, title, body)).encode()).hexdigest()[:16]
    words = f"Written by ARGUS from incident {draft.incident_id}. Once somebody edits this page, ARGUS leaves it alone."
    footer = panel("note", paragraph(words) + paragraph(f"argus:{owner}:{digest}"))
    return _Page(title, owner, digest, well_formed(body + footer))


def _version(page: dict[str, Any]) -> int:
    version = page.get("version")
    number = version.get("number") if isinstance(version, dict) else None
    if not isinstance(number, int):
        raise http.unreadable(SYSTEM)
    return number


def _body(page: dict[str, Any]) -> str:
    body = page.get("body")
    storage = body.get("storage") if isinstance(body, dict) else None
    return str(storage.get("value", "")) if isinstance(storage, dict) else ""


def _label(text: str) -> str:
    return _NOT_IN_LABEL.sub("-", text.lower()).strip("-")[:100]


def build(name: str, config: ConfluenceConfig, surroundings: Surroundings) -> ConfluenceKnowledge:
    """The destination of one section."""
    return ConfluenceKnowledge(config)
