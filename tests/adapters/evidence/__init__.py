"""Tests of what only one evidence source does."""
