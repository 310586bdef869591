"""The stores, and a strict stand-in for the Table service."""
