"""Root cause analysis: gather, rank, state with evidence."""
