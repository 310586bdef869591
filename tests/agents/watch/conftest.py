"""A world for tests of the watch in the whole product."""

from __future__ import annotations

from tests.pipeline.conftest import opened, world

__all__ = ["opened", "world"]
