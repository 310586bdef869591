"""What ARGUS tells of its own work."""
