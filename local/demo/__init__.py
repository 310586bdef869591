"""The demo: its shop and its script."""
