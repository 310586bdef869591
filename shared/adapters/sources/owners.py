"""Whose a resource is.

In: names and ARM ids an alert mentions. Out: the configured service they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shared.config.schema import Service


def last_part(name: str) -> str:
    """The last segment of an ARM id or address; the name itself when it has none."""
    return name.rstrip("/").rsplit("/", 1)[-1]


class Owners:
    """Finds services by their name and their resources, whatever the case.

    A whole name or ARM id is the strongest match; then the last part of one; then a resource below a configured one,
    such as a deployment slot.
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._environments = {name: service.environment for name, service in services.items()}
        self._whole: dict[str, str] = {}
        self._last: dict[str, str] = {}
        for service, settings in services.items():
            for resource in (service, *settings.resources):
                key = resource.strip().rstrip("/").lower()
                self._whole.setdefault(key, service)
                self._last.setdefault(last_part(key), service)

    def find(self, candidates: Iterable[str]) -> str:
        """The service of the first candidate that belongs to one; empty when none does."""
        for candidate in candidates:
            key = candidate.strip().rstrip("/").lower()
            if not key:
                continue
            found = self._whole.get(key) or self._whole.get(last_part(key))
            if not found and "/" not in key:
                found = self._last.get(key)
            if found or (found := self._above(key)):
                return found
        return ""

    def environment(self, service: str) -> str:
        """Environment of a configured service; empty for any other."""
        return self._environments.get(service, "")

    def _above(self, key: str) -> str:
        while key.count("/") > 4:  # above a resource group nothing belongs to one service
            key = key.rsplit("/", 1)[0]
            if key in self._whole:
                return self._whole[key]
        return ""
