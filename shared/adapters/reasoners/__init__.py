"""Reasoners: models that may re-word and re-rank what the evidence says; none is registered yet."""
