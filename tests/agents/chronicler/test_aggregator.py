"""Aggregator: themes and what worked, each incident counted once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.model.action import ActionState
from shared.model.incident import Theme
from shared.model.lifecycle import State
from shared.ports.store import Store
from tests.agents.cases import NOW, T0, alert, incident
from tests.agents.chronicler.story import chronicle, given, lived


def test_a_theme_is_counted_once_per_incident(store: Store) -> None:
    there = given(store)
    of, _ = chronicle(lived(store), there)
    of, _ = chronicle(of, there)
    assert of.theme == Theme("shop/release", 1, (), "deploy_hook", 1, 0)
    second, _ = chronicle(lived(store, 2), there)
    assert second.theme == Theme("shop/release", 2, (of.id,), "deploy_hook", 2, 0)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"resolved_at": None}, id="never-recovered"),
        pytest.param({"resolved_at": T0}, id="recovered-before-it"),
        pytest.param({"unclear": True}, id="nobody-knows"),
    ],
)
def test_an_action_without_recovery_after_it_did_not_work(store: Store, changes: dict[str, Any]) -> None:
    of = lived(store)
    if changes.pop("unclear", False):
        of = replace(of, actions=(replace(of.actions[0], state=ActionState.UNCLEAR),))
    of, _ = chronicle(replace(of, **changes), given(store))
    assert of.theme is not None
    assert (of.theme.successes, of.theme.failures) == (0, 1)
    assert [draft.kind for draft in of.drafts] == ["review"]


def test_without_a_cause_the_theme_is_the_first_alert(store: Store) -> None:
    alerts = (alert("Later", starts_at=T0 + timedelta(seconds=9)), alert("Service Stopped"))
    of, _ = chronicle(incident(state=State.CLOSED, closed_at=NOW, alerts=alerts), given(store))
    assert of.theme is not None
    assert of.theme.key == "shop/Service Stopped"
