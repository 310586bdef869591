"""ARGUS watching itself."""
