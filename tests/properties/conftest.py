"""Two depths: what every run takes its second for, and ``--hypothesis-profile deep`` for a long one."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("deep", deadline=None)
