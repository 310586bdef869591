"""Roles the outside plays; each file is one contract, and `Ports` is the set a micro-agent is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.config.schema import Settings
from shared.ports.action import Action
from shared.ports.bus import Bus
from shared.ports.channel import Channel
from shared.ports.evidence import Investigator
from shared.ports.knowledge import Knowledge
from shared.ports.library import Library
from shared.ports.queue_watch import NoQueueWatch, QueueWatch
from shared.ports.source import Poller, Source
from shared.ports.store import Store
from shared.ports.ticketing import Ticketing
from shared.ports.waits import Waits


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything outside, by role and configured name.

    Attributes:
        repeat: an earlier attempt of the event at hand may have reached the outside (rule H2).
    """

    settings: Settings
    store: Store
    bus: Bus
    waits: Waits
    investigator: Investigator
    library: Library
    sources: Mapping[str, Source]
    pollers: Mapping[str, Poller]
    channels: Mapping[str, Channel]
    ticketing: Mapping[str, Ticketing]
    destinations: Mapping[str, Knowledge]
    actions: Mapping[str, Action]
    repeat: bool = False
    queue_watch: QueueWatch = field(default_factory=NoQueueWatch)
