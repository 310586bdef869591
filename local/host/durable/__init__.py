"""Durable Functions 1.x on SQLite: speaks the JSON history protocol of azure-functions-durable 1.7.0."""
