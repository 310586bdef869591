"""The ServiceNow stand-in: Table API, business rules, encoded queries."""
