"""Tests: the whole stack as processes."""
