"""Decisions; no I/O except through ports, no clock, no randomness."""
