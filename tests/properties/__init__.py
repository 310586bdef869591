"""Order, duplicates and hosts at once: what must be the same, whatever a bus and a scheduler do."""
