"""RCA: finds what most likely caused an incident, with the evidence for each claim, or says that nothing shows it."""

from shared.agents.triage.rca.investigate import handle

__all__ = ["handle"]
