"""Waits for people on the real local host, running the product's own function app over a real broker and store."""
