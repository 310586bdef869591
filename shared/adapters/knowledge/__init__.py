"""Destinations of documents; one registry line each."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.knowledge import confluence, git
from shared.adapters.registry import Adapter
from shared.ports.knowledge import Knowledge

DESTINATIONS: Mapping[str, Adapter[Knowledge]] = {
    "confluence": Adapter(confluence.ConfluenceConfig, confluence.build),
    "git": Adapter(git.GitConfig, git.build),
}
