"""Rows in Azure Table Storage: settings, store, two clients behind one seam, and what the service's answers mean."""
