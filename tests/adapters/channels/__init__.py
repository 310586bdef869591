"""Tests of what only one channel does."""
