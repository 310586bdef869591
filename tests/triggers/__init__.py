"""Tests: triggers."""
