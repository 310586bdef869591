"""Rows of `groups`: the claim of a group on an incident, and the newest state of each alert in it."""

from shared.records.groups.claims import (
    begin_closing,
    claim,
    finish_closing,
    read,
    reopen_claim,
    state_of,
    turn_open,
)
from shared.records.groups.members import (
    Rows,
    everything_known,
    load,
    members,
    members_in,
    put_members,
    unresolved,
)
from shared.records.groups.states import (
    Claim,
    GroupState,
    Held,
    Member,
    Stated,
    incident_id_of,
    member_of,
    partition_of,
    rank,
)

__all__ = [
    "Claim", "GroupState", "Held", "Member", "Rows", "Stated", "begin_closing", "claim", "everything_known",
    "finish_closing", "incident_id_of", "load", "member_of", "members", "members_in", "partition_of",
    "put_members", "rank", "read", "reopen_claim", "state_of", "turn_open", "unresolved",
]  # fmt: skip
