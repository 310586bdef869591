"""Triggers: decode, shared.dispatch, encode; nothing else."""
