"""Actions: what ARGUS can change in a workload; one registry line each."""

from __future__ import annotations

from collections.abc import Mapping

from shared.adapters.actions import deploy_hook, noop
from shared.adapters.registry import Adapter
from shared.ports.action import Action

ACTIONS: Mapping[str, Adapter[Action]] = {
    "deploy_hook": Adapter(deploy_hook.DeployHookConfig, deploy_hook.build),
    "noop": Adapter(noop.NoopConfig, noop.build),
}
