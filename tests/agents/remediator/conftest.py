"""A world for each test of the remediator."""

from tests.pipeline.conftest import opened, world

__all__ = ["opened", "world"]
