"""The outside world: one file per system, one registry per family."""
