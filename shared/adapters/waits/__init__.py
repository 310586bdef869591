"""Waits for people. There is one: Durable Functions."""
