"""Stand-ins for Teams, a webhook receiver, ServiceNow and Confluence, as strict as the vendors."""
