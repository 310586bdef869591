"""How many examples a property gets.

In: the number that takes about a second. Out: settings for the ordinary run, or for ``--hypothesis-profile deep``.
"""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings

DEEPER = 30  # so many times more examples in a deep run, and new ones each time


def examples(number: int) -> settings:
    """Settings of a property; the ordinary run takes the same examples always."""
    deep = settings.get_current_profile_name() == "deep"
    return settings(
        max_examples=number * DEEPER if deep else number,
        derandomize=not deep,
        deadline=None,
        database=None,
        phases=tuple(Phase) if deep else (Phase.explicit, Phase.generate),  # shrinking may take minutes
        suppress_health_check=list(HealthCheck),
    )
