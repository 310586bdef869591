"""The environment that the files under `bad/` and `good/` are read with; every value in it is a secret.

In: nothing. Out: names and values.
"""

from __future__ import annotations

from collections.abc import Mapping

ENVIRON: Mapping[str, str] = {
    "SESSION_SECRET": "only-for-tests-0123456789abcdef0123",
    "SENDER_KEY": "only-for-tests-sender",
    "TEAMS_URL": "https://prod-1.westeurope.logic.azure.com/workflows/only-for-tests?sig=nothing",
    "HOOK_URL": "https://hooks.example.org/only-for-tests",
    "HOOK_SECRET": "only-for-tests-hook",
    "SERVICENOW_TOKEN": "only-for-tests-servicenow",
    "CONFLUENCE_TOKEN": "only-for-tests-confluence",
}
