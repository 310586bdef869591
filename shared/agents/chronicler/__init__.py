"""Phase 3: turn closed incidents into documents."""
