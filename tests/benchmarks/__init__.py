"""Tests: what measures the promises of ARGUS must itself find what breaks them."""
