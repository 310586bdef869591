"""Phase 1: from a signal to an incident, a card and a ticket."""
