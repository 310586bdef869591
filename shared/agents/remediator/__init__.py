"""Phase 2: ask, execute, verify, close."""
