"""Tests of the demo's shop."""
