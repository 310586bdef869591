"""Tests of what only one destination does."""
