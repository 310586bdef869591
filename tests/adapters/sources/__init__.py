"""Sources and pollers."""
