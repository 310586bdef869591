"""Tests of the chronicler micro-agents."""
