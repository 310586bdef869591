"""Rows in Azure Table Storage: settings, store, the SDK behind one seam, and what its answers mean."""
