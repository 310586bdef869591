"""Forms people send.

In: a visit with a form. Out: an event on its way, and a redirect to the page that will show its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote

from shared.model.approval import Vote
from shared.model.event import derive_id
from shared.portal import acts, deciding, pages, read_model
from shared.portal.acts import MAX_HASH_CHARS, MAX_TEXT_CHARS, text_of
from shared.portal.exchange import Refused, Response, local_path, redirect
from shared.portal.site import Visit

Fields = Callable[[], Mapping[str, str]]  # read last: who, and of what, is refused before what a body says


def act(visit: Visit, name: str, verb: str) -> Response:
    """Acknowledge, assign, close or investigate."""
    incident_id = perform(visit, name, verb, lambda: visit.request.form)
    return redirect(f"/incidents/{quote(incident_id)}?note={acts.ACTS[verb]}")


def perform(visit: Visit, name: str, verb: str, fields: Fields) -> str:
    """Send a person's act on an incident.

    Returns:
        The incident id.

    Raises:
        Refused: 401, 403, 404 or 400.
    """
    person = visit.actor()
    ports = visit.site.ports
    incident_id = read_model.find_incident(ports.store, name)
    if not incident_id:
        raise Refused(404, "There is no such incident", "The address may be cut off; look in the list.")
    data = acts.payload_of(verb, person.user, fields(), ports.settings)
    acts.send(ports.bus, data, person.user, incident_id, visit.now)
    return incident_id


def open_incident(visit: Visit) -> Response:
    """Open an incident by hand."""
    try:
        incident_id = request_incident(visit, lambda: visit.request.form)
    except Refused as refused:
        if refused.status != 400:
            raise
        return pages.open_form(visit, refused)
    return redirect(f"/incidents/{incident_id}?note=opened")


def request_incident(visit: Visit, fields: Fields) -> str:
    """Send a person's request for a new incident.

    Returns:
        The id the incident will have.

    Raises:
        Refused: 401, 403 or 400.
    """
    person = visit.actor()
    data = acts.requested(person.user, fields())
    incident_id = derive_id("manual", person.user, visit.now.isoformat())
    acts.send(visit.site.ports.bus, data, person.user, incident_id, visit.now)
    return incident_id


def decide(visit: Visit, approval_id: str) -> Response:
    """Vote; the answer is the approval page."""
    try:
        view, no, told = vote(visit, approval_id, lambda: visit.request.form)
    except Refused as refused:
        if refused.status not in (400, 403):
            raise
        message = f"{refused.title}. {refused.detail}"
        return pages.approval_page(visit, pages.approval_of(visit, approval_id), message, refused.status)
    if no is not None:
        return pages.approval_page(visit, pages.approval_of(visit, approval_id), no.why, no.status)
    return redirect(f"/approvals/{quote(view.request.id)}?note={'voted' if told else 'kept'}")


def vote(visit: Visit, approval_id: str, fields: Fields) -> tuple[read_model.ApprovalView, deciding.No | None, bool]:
    """Read a ballot and cast it.

    Returns:
        The approval as it was before, why the vote was not accepted, and whether the orchestration was told.

    Raises:
        Refused: 401, 403, 404 or 400.
    """
    person = visit.actor()
    view = pages.approval_of(visit, approval_id)
    given = fields()
    choice = deciding.choice_of(given.get("choice", ""))
    if choice is None:
        raise Refused(400, "Neither approved nor rejected", "Choose one of the two.")
    comment = text_of(given, "comment", MAX_TEXT_CHARS, required=False)
    plan_hash = text_of(given, "plan_hash", MAX_HASH_CHARS, required=False)
    ballot = Vote(person.user, choice, visit.now, plan_hash, comment)
    no, told = deciding.cast(visit.site.ports, view, person, ballot)
    return view, no, told


def sign_in(visit: Visit) -> Response:
    """Start a session of the development sign-in."""
    door = visit.site.sign_in
    visit.site.access.check_origin(visit.request)
    if door is None or door.refusal(visit.request.headers):
        return pages.sign_in_page(visit)
    cookie = door.sign_in(visit.request.form.get("user", ""))
    if cookie is None:
        return pages.sign_in_page(visit, "Choose one of the people below.", 400)
    return redirect(local_path(visit.request.form.get("next", "/")), (cookie,))


def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.actor()
    door = visit.site.sign_in
    return redirect("/?note=signed_out", (door.sign_out(),) if door is not None else ())
