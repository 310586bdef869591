"""Tests of the local Functions host, run against small apps in `apps/`."""
