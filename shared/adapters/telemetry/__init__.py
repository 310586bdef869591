"""Where log records go beside the host's own log."""
