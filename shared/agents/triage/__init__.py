"""Phase 2: from an incident to a cause and a recommended fix."""
