"""Tests of the triage micro-agents."""
