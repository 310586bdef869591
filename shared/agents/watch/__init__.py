"""ARGUS watching itself: what beats, what waits, what is broken, and who is told through what still works."""
