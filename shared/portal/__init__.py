"""The pages people open and the JSON scripts read; `app` has the routes."""

from __future__ import annotations

from shared.portal.app import Portal
from shared.portal.exchange import Request, Response

__all__ = ["Portal", "Request", "Response"]
