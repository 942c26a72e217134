"""Periods as people and programs write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byokportal.errors import InvalidInput
from byokportal.filters import PeriodForm, read
from byokportal.keyset import Position

NOON = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("2026-11-28T12:00Z", NOON),
        ("2026-11-28T12:00", NOON),
        (" 2026-11-28 12:00:00 ", NOON),
        ("2026-11-28T13:00:00+01:00", NOON),
        ("2026-11-28", datetime(2026, 11, 28, tzinfo=UTC)),
    ],
)
def test_an_instant_is_read(text: str, at: datetime | None) -> None:
    assert read(PeriodForm({"from": text}))["from"] == at


def test_the_end_of_a_day_is_in_the_period() -> None:
    given = read(PeriodForm({"from": "2026-11-28", "to": "2026-11-28"}))
    assert given["to"] - given["from"] == timedelta(days=1)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-02-30",
        "2026-13-01T00:00Z",
        "9999-12-31",
        "0001-01-01T00:00+14:00",
        "\x00",
        "2026-11-28T12:00\x00",
        "1" * 100_000,
        "٢٠٢٦-١١-٢٨T99:00",
        "[" * 100_000,
        "1e400",
    ],
)
def test_everything_else_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        read(PeriodForm({"to": text}))
    assert "2026-11-28T15:00Z" in raised.value.errors["to"][0]


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InvalidInput):
        read(PeriodForm({"from": "2026-11-28", "to": "2026-11-27"}))


@given(st.text(max_size=60))
def test_no_text_breaks_a_field(text: str) -> None:
    form = PeriodForm({"from": text, "to": text})
    assert form.is_valid() or form.errors


@given(st.datetimes(datetime(1970, 1, 1), datetime(5000, 1, 1)), st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back_as_it_went(at: datetime, pk: int) -> None:
    place = Position(at.replace(tzinfo=UTC), pk)
    assert Position.parse(str(place)) == place


@pytest.mark.parametrize(
    "cursor",
    ["x", "1", "1-", "-1-1", "1-9223372036854775808", "9" * 30 + "-1", "1-1\n", "١-١", "1-1\x00", "9" * 100_000],
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        Position.parse(cursor)
