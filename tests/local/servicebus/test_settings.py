"""Queue definitions are checked before anything starts, and every mistake is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from local.servicebus.settings import QueueSettings, load_queues


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"lock_duration_s": 4}, "lock_duration_s must be at least 5 and at most 300, not 4", id="lock"),
        pytest.param({"lock_duration_s": 301}, "lock_duration_s", id="lock-too-long"),
        pytest.param({"lock_duration_s": "60"}, "lock_duration_s must be a number", id="lock-as-text"),
        pytest.param({"max_delivery_count": 0}, "max_delivery_count must be at least 1", id="no-delivery"),
        pytest.param({"max_delivery_count": 2.5}, "whole number", id="half-a-delivery"),
        pytest.param({"default_ttl_s": 0.5}, "default_ttl_s must be at least 1, not 0.5", id="ttl"),
        pytest.param({"dead_letter_on_expiration": 1}, "true or false", id="not-a-switch"),
        pytest.param({"duplicate_detection_window_s": 19}, "duplicate_detection_window_s", id="window"),
        pytest.param({"name": "$management"}, "name must be", id="a-reserved-name"),
        pytest.param({"name": "x" * 261}, "longer than 260", id="a-long-name"),
    ],
)
def test_what_azure_would_not_take_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r"^queue") as caught:
        QueueSettings(**{"name": "jobs", **changes})
    assert told in str(caught.value)


def test_a_file_gives_its_queues(tmp_path: Path) -> None:
    path = tmp_path / "queues.json"
    path.write_text(json.dumps([{"name": "a"}, {"name": "b/c", "lock_duration_s": 5, "default_ttl_s": None}]))
    assert load_queues(path) == [QueueSettings("a"), QueueSettings("b/c", lock_duration_s=5)]


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "queues.json"
    path.write_text(
        json.dumps([{"name": "a", "lock": 1}, {}, 3, {"name": "b", "lock_duration_s": 1}, {"name": "B"}, {"name": "b"}])
    )
    with pytest.raises(ValueError, match="entry 1: unknown setting 'lock'") as caught:
        load_queues(path)
    for told in ("entry 2: 'name' is missing", "entry 3: an object", "entry 4: queue 'b'", "'b' is defined twice"):
        assert told in str(caught.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1"])
def test_what_is_no_list_of_queues_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "queues.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"queues\.json"):
        load_queues(path)
