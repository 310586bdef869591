"""Tests of the remediator."""
