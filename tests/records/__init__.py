"""Rows that the records package keeps."""
