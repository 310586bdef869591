"""One visit to the portal: who asks, what they may do, and how a page is made for them.

In: a request and everything the portal was built with. Out: permission or refusal, and rendered templates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.model.lifecycle import State
from shared.model.signal import Severity
from shared.portal import words
from shared.portal.access import Access, SignIn
from shared.portal.charts import chart
from shared.portal.counting import OpenCount
from shared.portal.exchange import Refused, Request, Response, page
from shared.portal.read_model import raw_address
from shared.portal.storm_view import banner
from shared.ports import Ports
from shared.ports.identity import Person

_HERE = Path(__file__).parent
STATIC_TYPES: Mapping[str, str] = MappingProxyType(
    {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
)


@dataclass(frozen=True, slots=True)
class Site:
    """What the portal was built with."""

    ports: Ports
    access: Access
    sign_in: SignIn | None
    templates: Environment
    files: Mapping[str, bytes]
    opened: OpenCount = field(default_factory=OpenCount)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request, with the person behind it, at one moment."""

    site: Site
    request: Request
    person: Person | None
    now: datetime

    def html(self, template: str, status: int = 200, **values: object) -> Response:
        """A page made from a template for this visitor."""
        text = self.site.templates.get_template(template).render(
            me=self.person,
            csrf=self.site.access.csrf(self.person),
            now=self.now,
            path=self.request.path,
            settings=self.site.ports.settings,
            can_sign_in=self.site.sign_in is not None,
            storm=partial(banner, self.site.ports.store),
            note=words.NOTES.get(self.request.query.get("note", ""), ""),
            **values,
        )
        return page(text, status)

    def reader(self) -> None:
        """Let nobody read who may not.

        Raises:
            Refused: 401.
        """
        if not self.site.access.may_read(self.request, self.person):
            raise Refused(401, "Please sign in", "These pages are for people who are signed in.")

    def actor(self) -> Person:
        """The signed-in person who really sent this change.

        Raises:
            Refused: 401 without a sign-in, 403 when the request came from elsewhere or lacks the session's token.
        """
        if self.person is None:
            raise Refused(401, "Please sign in", "Changing something needs a signed-in person.")
        self.site.access.check_origin(self.request)
        self.site.access.check_csrf(self.request, self.person)
        return self.person


@lru_cache(maxsize=1)
def static_files() -> Mapping[str, bytes]:
    """Files under ``/static/``, by name."""
    found = sorted((_HERE / "static").iterdir())
    return MappingProxyType({path.name: path.read_bytes() for path in found if path.suffix in STATIC_TYPES})


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates; text is escaped always, and an unknown variable is an error."""
    env = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        number=words.number,
        percent=words.percent,
        raw_address=raw_address,
        utc=words.utc,
        visible=words.visible,
        diff_side=words.diff_side,
        web_link=words.web_link,
        who=words.who,
    )
    version = hashlib.sha256(b"".join(static_files().values())).hexdigest()[:10]
    env.globals.update(
        ago=words.ago,
        left=words.left,
        chart=chart,
        static_version=version,
        STATES=words.STATES,
        SEVERITIES=words.SEVERITIES,
        VERDICTS=words.VERDICTS,
        OPENING_SEVERITIES=[severity for severity in Severity if severity.opens_incident],
        State=State,
    )
    return env
