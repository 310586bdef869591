"""Tests of the development hosts."""
