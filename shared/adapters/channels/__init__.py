"""Channels: the products ARGUS tells people things in; one registry line each."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.channels import teams, webhook
from shared.adapters.registry import Adapter
from shared.ports.channel import Channel

CHANNELS: Mapping[str, Adapter[Channel]] = {
    "teams": Adapter(teams.TeamsConfig, teams.build),
    "webhook": Adapter(webhook.WebhookConfig, webhook.build),
}
