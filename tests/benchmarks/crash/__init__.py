"""Tests: the crash harness."""
