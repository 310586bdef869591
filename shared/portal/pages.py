"""Pages that show something; none of them changes anything.

In: a visit. Out: an HTML page, or a refusal.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from shared.model.approval import Choice
from shared.portal import deciding, read_model
from shared.portal.exchange import SECURITY_HEADERS, TEXT, Refused, Response, redirect
from shared.portal.read_model import ApprovalView
from shared.portal.site import Visit
from shared.records import incidents

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def raw_body(visit: Visit) -> Response:
    """A body as it arrived: as text, never as what it says it is."""
    visit.reader()
    body = read_model.raw_body(visit.site.ports.store, visit.request.query.get("ref", ""))
    if body is None:
        raise Refused(404, "There is no such body", "Bodies are kept for 30 days; the address may be cut off.")
    headers = {**SECURITY_HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox"}
    return Response(200, body, TEXT, headers)


def incident(visit: Visit, name: str) -> Response:
    """One incident with everything known about it; a unique beginning of its id leads to it."""
    visit.reader()
    store = visit.site.ports.store
    view = read_model.incident_view(store, name)
    if view is None:
        if visit.request.query.get("note") == "opened" and _UUID.fullmatch(name):
            return visit.html("creating.html", status=202)
        found = read_model.find_incident(store, name)
        if found:
            return redirect(f"/incidents/{quote(found)}")
        raise Refused(404, "There is no such incident", "The address may be cut off; look in the list.")
    return visit.html("incident.html", view=view, incident=view.incident, numbers=read_model.cited(view.incident))


def approval(visit: Visit, approval_id: str) -> Response:
    """The approval page; showing it changes nothing."""
    visit.reader()
    return approval_page(visit, approval_of(visit, approval_id))


def approval_of(visit: Visit, approval_id: str) -> ApprovalView:
    """The approval an address names.

    Raises:
        Refused: 404.
    """
    view = read_model.approval_view(visit.site.ports.store, approval_id)
    if view is None:
        raise Refused(404, "There is no such approval", "The link may be cut off; open the incident instead.")
    return view


def approval_page(visit: Visit, view: ApprovalView, message: str = "", status: int = 200) -> Response:
    """The approval page with a message about a vote that was not accepted, if any."""
    request = view.request
    no = None
    if visit.person is not None:
        hash_seen = request.plan_hash
        no = deciding.refusal(request, view.decision, view.votes, visit.person, hash_seen, visit.now)
    loaded = incidents.load(visit.site.ports.store, request.incident_id)
    return visit.html(
        "approval.html",
        status=status,
        view=view,
        request=request,
        plan=request.plan,
        incident=loaded.incident if loaded else None,
        closes_at=deciding.closes_at(request),
        intact=deciding.intact(request),
        may_not=no,
        message=message,
        approvals_given=sum(vote.choice is Choice.APPROVE for vote in view.votes),
        comment=visit.request.form.get("comment", ""),
    )


def open_form(visit: Visit, problem: Refused | None = None) -> Response:
    """The form that opens an incident by hand, with what was filled in before."""
    visit.reader()
    if visit.person is None:
        raise Refused(401, "Please sign in", "Opening an incident needs a signed-in person.")
    return visit.html("open.html", status=problem.status if problem else 200, problem=problem, given=visit.request.form)


def sign_in_page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    """Who are you? Development only."""
    sign_in = visit.site.sign_in
    wanted = visit.request.form.get("next") or visit.request.query.get("next") or "/"
    if sign_in is None:
        return visit.html("signin.html", people=(), refusal="", problem=problem, next=wanted)
    refusal = sign_in.refusal(visit.request.headers)
    return visit.html(
        "signin.html",
        status=403 if refusal else status,
        people=sign_in.people(),
        refusal=refusal,
        problem=problem,
        next=wanted,
    )
