"""The storm brake in people's hands: how it stands, on, and off.

In: a visit. Out: the view as JSON, or a switched brake, which the audit trail has with the person and the reason.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.model import codec
from shared.portal import json_api, storm_view
from shared.portal.acts import text_of
from shared.portal.exchange import Refused, Response, json_answer, redirect
from shared.portal.site import Visit
from shared.records import brake

MAX_REASON_CHARS = 500


def answer(visit: Visit) -> Response:
    """How the brake stands."""
    visit.reader()
    return json_answer(codec.to_json(storm_view.view(visit.site.ports.store)))


def switch_json(visit: Visit, verb: str) -> Response:
    """Put the brake on or off, from a script."""
    changed = _switch(visit, verb, json_api.fields_of(visit))
    return json_answer({"accepted": True, "what": f"brake {verb}", "changed": changed}, 202)


def switch_form(visit: Visit, verb: str) -> Response:
    """Put the brake on or off, from a page."""
    _switch(visit, verb, visit.request.form)
    return redirect(f"/status?note=brake_{verb}")


def _switch(visit: Visit, verb: str, fields: Mapping[str, str]) -> bool:
    """Switch it.

    Returns:
        False when it stood so already.

    Raises:
        Refused: 401, 403, or 400 without a reason.
    """
    person = visit.actor()
    group = visit.site.ports.settings.approvals.group
    if group not in person.groups:
        raise Refused(403, "You may not do this", f"Only members of {group} may; you are not one of them.")
    reason = text_of(fields, "reason", MAX_REASON_CHARS)
    put = brake.put_on if verb == "on" else brake.put_off
    return put(visit.site.ports.store, reason, visit.now, person.user)[1]
