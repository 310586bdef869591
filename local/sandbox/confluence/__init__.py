"""The Confluence Cloud stand-in: pages in v2, labels and attachments in v1."""
