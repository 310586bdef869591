"""The portal: which address is answered by what.

In: requests. Out: pages, JSON, static files, and refusals a person understands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote, urlencode

from shared.model.errors import PermanentError, TransientError
from shared.portal import changes, json_api, list_pages, pages, readiness, recovering, status, storm
from shared.portal.access import KEY_QUERY, Access, SignIn
from shared.portal.exchange import SECURITY_HEADERS, Refused, Request, Response, problem, redirect
from shared.portal.site import STATIC_TYPES, Site, Visit, static_files, templates
from shared.ports import Ports
from shared.ports.identity import Identity

Handler = Callable[..., Response]
_ID = r"(?P<name>[^/]{1,200})"
_VERB = r"(?P<verb>acknowledge|assign|close|investigate)"

ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", r"/", list_pages.incident_list),
    ("GET", r"/alerts", list_pages.alert_list),
    ("GET", r"/search", list_pages.search),
    ("GET", r"/alerts/raw", pages.raw_body),
    ("GET", r"/quarantine", recovering.quarantine_page),
    ("POST", r"/quarantine/(?P<entry_id>[^/]{1,200})/(?P<verb>replay|drop)", recovering.act_form),
    ("POST", rf"/held/{_ID}/(?P<event_id>[^/]{{1,200}})/release", recovering.release_form),
    ("GET", r"/status", status.page),
    ("POST", r"/brake/(?P<verb>on|off)", storm.switch_form),
    ("GET", r"/open", pages.open_form),
    ("POST", r"/open", changes.open_incident),
    ("GET", r"/signin", pages.sign_in_page),
    ("POST", r"/signin", changes.sign_in),
    ("POST", r"/signout", changes.sign_out),
    ("GET", rf"/incidents/{_ID}", pages.incident),
    ("POST", rf"/incidents/{_ID}/{_VERB}", changes.act),
    ("GET", r"/approvals/(?P<approval_id>[^/]{1,200})", pages.approval),
    ("POST", r"/approvals/(?P<approval_id>[^/]{1,200})", changes.decide),
    ("GET", r"/api/session", json_api.session),
    ("GET", r"/api/status", status.answer),
    ("GET", r"/api/brake", storm.answer),
    ("POST", r"/api/brake/(?P<verb>on|off)", storm.switch_json),
    ("GET", r"/api/alerts", json_api.alert_list),
    ("GET", r"/api/search", json_api.search),
    ("GET", r"/api/quarantine", recovering.quarantine_json),
    ("GET", r"/api/quarantine/(?P<entry_id>[^/]{1,200})", recovering.entry_json),
    ("POST", r"/api/quarantine/(?P<entry_id>[^/]{1,200})/(?P<verb>replay|drop)", recovering.act_json),
    ("GET", r"/api/held", recovering.held_json),
    ("POST", rf"/api/held/{_ID}/(?P<event_id>[^/]{{1,200}})/release", recovering.release_json),
    ("GET", r"/api/incidents", json_api.incident_list),
    ("POST", r"/api/incidents", json_api.open_incident),
    ("GET", rf"/api/incidents/{_ID}", json_api.incident),
    ("POST", rf"/api/incidents/{_ID}/{_VERB}", json_api.act),
    ("POST", r"/api/approvals/(?P<approval_id>[^/]{1,200})", json_api.decide),
)
_COMPILED = tuple((method, re.compile(pattern), handler) for method, pattern, handler in ROUTES)


class Portal:
    """Answers people and scripts."""

    def __init__(
        self, ports: Ports, identity: Identity, development: SignIn | None, clock: Callable[[], datetime]
    ) -> None:
        """Build the portal.

        Args:
            identity: knows who a request comes from.
            development: the sign-in pages are for; ``None`` where the platform signs people in.
            clock: the current moment, aware UTC.
        """
        access = Access(ports.settings, identity)
        self._site = Site(ports, access, development, templates(), static_files())
        self._clock = clock
        self._readiness = readiness.Readiness(ports, clock)

    def ready(self, request: Request) -> Response:
        """Whether this instance can do its work; why not is for those who may read."""
        access = self._site.access
        details = access.may_read(request, access.who(request))
        return readiness.respond(self._readiness.look(), details, "strict" in request.query)

    def respond(self, request: Request) -> Response:
        """Answer a request.

        Returns:
            Always an answer; a store or bus that cannot be reached is a 503.
        """
        head = request.method == "HEAD"
        if head:
            request = replace(request, method="GET")
        static = request.path.startswith("/static/")
        answer = self._static(request) if static else self._answer(request)
        return replace(answer, body=b"") if head else answer

    def _answer(self, request: Request) -> Response:
        visit = Visit(self._site, request, None, self._clock())
        try:
            visit = replace(visit, person=self._site.access.who(request))
            return self._dispatch(visit)
        except Refused as refused:
            return _refuse(visit, refused)
        except TransientError:
            detail = "The store or the queue cannot be reached right now. Try again in a minute."
            return _refuse(visit, Refused(503, "Not available", detail, {"Retry-After": "5"}))
        except PermanentError as exc:
            return _refuse(visit, Refused(500, "A record cannot be read", f"{exc.reason}: tell the owners of ARGUS."))

    def _dispatch(self, visit: Visit) -> Response:
        allowed: list[str] = []
        for method, pattern, handler in _COMPILED:
            match = pattern.fullmatch(visit.request.path)
            if match and method == visit.request.method:
                return handler(visit, **match.groupdict())
            if match:
                allowed += ["GET", "HEAD"] if method == "GET" else [method]
        if allowed:
            raise Refused(405, "That cannot be done here", "", {"Allow": ", ".join(allowed)})
        raise Refused(404, "There is no such page", "The address may be cut off; begin at the list of incidents.")

    def _static(self, request: Request) -> Response:
        name = request.path.removeprefix("/static/")
        content = self._site.files.get(name)
        if content is None or request.method != "GET":
            return problem(Refused(404 if content is None else 405, "There is no such file"))
        # Pages ask for files with a version in the query, so a copy kept for a day is never an old one.
        headers = {**SECURITY_HEADERS, "Cache-Control": "public, max-age=86400"}
        return Response(200, content, STATIC_TYPES[PurePosixPath(name).suffix], headers)


def _refuse(visit: Visit, refused: Refused) -> Response:
    request = visit.request
    if request.api:
        return problem(refused)
    if refused.status == 401 and request.method == "GET" and visit.site.sign_in is not None:
        query = urlencode({name: value for name, value in request.query.items() if name != KEY_QUERY})
        return redirect(f"/signin?next={quote(request.path + ('?' + query if query else ''), safe='')}")
    back = re.sub(rf"/{_VERB}$", "", request.path)
    answer = visit.html("message.html", status=refused.status, refused=refused, back=back)
    return replace(answer, headers={**answer.headers, **refused.headers})
