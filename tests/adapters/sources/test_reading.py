"""Times, texts and links from strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.sources import reading


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-03-02T08:58:01.1234567Z", datetime(2026, 3, 2, 8, 58, 1, 123456, UTC)),
        ("2026-03-02T08:58:01.5+05:30", datetime(2026, 3, 2, 3, 28, 1, 500000, UTC)),
        ("2026-03-02 08:58:01", datetime(2026, 3, 2, 8, 58, 1, 0, UTC)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
        ("3/22/2019 1:36:33 PM", datetime(2019, 3, 22, 13, 36, 33, 0, UTC)),
        ("3/22/2019 12:00:00 AM", datetime(2019, 3, 22, tzinfo=UTC)),
        ("12/31/2019 12:01:02 PM +00:00", datetime(2019, 12, 31, 12, 1, 2, 0, UTC)),
        (1_772_442_000, datetime(2026, 3, 2, 9, 0, tzinfo=UTC)),
        ("1772442000123", datetime(2026, 3, 2, 9, 0, 0, 123000, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59Z", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-03-02T25:00:00Z", None),
        ("22/3/2019 1:36:33 PM", None),
        ("soon", None),
        ("", None),
        (15, None),
        (True, None),
        ([], None),
        (float("nan"), None),
        (10**400, None),
    ],
)
def test_moments(given: Any, expected: datetime | None) -> None:
    assert reading.moment(given) == expected


@given(
    st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(8999, 1, 1)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
)
def test_iso_times_are_read_like_python_does(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert reading.moment(moment.isoformat()) == moment
    assert reading.moment(moment.isoformat(timespec="microseconds").replace(".", ",")) == moment


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ""),
        (True, "true"),
        (3, "3"),
        (2.50, "2.5"),
        ({}, ""),
        (" a\x00b ", "ab"),
        ("\ud83d\udc22", "🐢"),
        ("\ud83d", "\ufffd"),
    ],
)
def test_texts(given: Any, expected: str) -> None:
    assert reading.text(given) == expected


@given(st.text(), st.integers(1, 50))
def test_texts_are_never_longer_than_asked(words: str, most: int) -> None:
    assert len(reading.text(words, most)) <= most
    reading.text(words, most).encode()


def test_html_becomes_words() -> None:
    assert reading.plain("<p>a &lt; b<br/>and <b>c</b></p>") == "a < b and c"
    assert reading.plain("a < b") == "a < b"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("javascript:alert(1)", "https://x.invalid/a b"), "https://x.invalid/a%20b"),
        (("my.server.url",), ""),
        (("http://", None, 3), ""),
        (("https://x.invalid/" + "y" * 5000, "http://z.invalid"), "http://z.invalid"),
    ],
)
def test_links(given: tuple[Any, ...], expected: str) -> None:
    assert reading.link(*given) == expected


NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "taken"),
    [
        (None, None),
        (NOW - timedelta(days=20_000), NOW - timedelta(days=20_000)),
        (NOW + timedelta(minutes=10), NOW + timedelta(minutes=10)),
        (NOW + timedelta(minutes=11), NOW),
        (datetime(8999, 1, 1, tzinfo=UTC), NOW),
    ],
    ids=["none", "long-ago", "another-clock", "another-zone", "never"],
)
def test_what_happens_tomorrow_happens_now(at: datetime | None, taken: datetime | None) -> None:
    assert reading.not_ahead(at, NOW) == taken


def test_labels_and_raw_text_lose_what_looks_like_a_secret() -> None:
    odd = {
        "db_password": "hunter2",
        "apiKey": 7,
        "deep": [{"Authorization": ["Bearer x"]}],
        "u": "http://x/?a=1&sig=s3",
    }
    assert reading.labels(odd) == {
        "db_password": "[redacted]", "apiKey": "[redacted]", "u": "http://x/?a=1&sig=[redacted]",
    }  # fmt: skip
    shown = reading.raw(odd)
    assert "hunter2" not in shown
    assert "Bearer" not in shown
    assert "s3" not in shown
    assert reading.labels({"tokens_per_s": "3"}) == {"tokens_per_s": "3"}
    assert reading.plain("see http://x/?code=s3 now") == "see http://x/?code=[redacted] now"
