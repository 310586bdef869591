"""A Service Bus broker on loopback for the unmodified azure-servicebus SDK, kept in SQLite."""
