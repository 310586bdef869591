"""Settings of the conductor: what is held, and when the storm brake goes on.

In: YAML, read by `load` as part of the settings. Out: frozen settings.
"""

from __future__ import annotations

from pydantic import Field

from shared.config.section import Seconds, Section


class BrakeSettings(Section):
    """The storm brake: in a storm tickets, investigations and approvals wait, the worst first; people get one digest.

    What is never held: the first notification of an incident, closings, updates of tickets that exist, approved
    actions, and what a person asks for. The digest goes to `notify.channels`.
    """

    enabled: bool = Field(default=True, description="Let the brake go on by itself; a person can put it on anyway.")
    new_incidents_per_minute: int = Field(
        default=20, ge=1, le=100_000, description="More new incidents than this within a minute put the brake on."
    )
    open_approvals: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Most approvals that are open at once, with the brake on or off; further ones wait for a place.",
    )
    parallel: int = Field(
        default=8, ge=1, le=200, description="Held incidents that are worked on at once, the worst first."
    )
    quiet_s: Seconds = Field(
        default=60, description="The brake goes off when all is worked off and this long was calm, in seconds."
    )
    digest_every_s: Seconds = Field(
        default=60, description="While more incidents are held the digest is told again, at most so often, in seconds."
    )


class Policy(Section):
    """What the conductor lets through."""

    hold: list[str] = Field(
        default_factory=list,
        description="Micro-agents whose events wait until released; not those that work before there is an incident.",
    )
    hold_s: Seconds = Field(default=3600, gt=0, description="A held event is looked at again after this, in seconds.")
    brake: BrakeSettings = Field(default_factory=BrakeSettings, description="The storm brake.")
