"""Triggers: decode, shared.dispatch, encode; nothing else.

In: the app setting ``ARGUS_ROLES``. Out: the blueprints of those roles.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from shared.model.pipeline import Role

MODULES = {
    Role.EDGE: ("edge",),
    Role.CORE: ("sentinel", "triage", "remediator", "chronicler", "conductor"),
    Role.EXEC: ("executor",),
}
DEFAULT_ROLES = "edge,core,exec"


def blueprints() -> list[Any]:
    """Blueprints of the roles in ``ARGUS_ROLES``, in a fixed order.

    Raises:
        ValueError: an unknown role; the message lists the known ones.
    """
    wanted = [name.strip() for name in os.environ.get("ARGUS_ROLES", DEFAULT_ROLES).split(",") if name.strip()]
    unknown = sorted(set(wanted) - {str(role) for role in Role})
    if unknown or not wanted:
        known = ", ".join(Role)
        raise ValueError(f"ARGUS_ROLES names {', '.join(unknown) or 'no role'}; the roles are {known}")
    modules = [name for role in Role if role in wanted for name in MODULES[role]]
    return [importlib.import_module(f"functions.{name}").blueprint for name in modules]
