"""When a key comes back: a table of times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keys.health import timing
from keys.health.timing import Pace, Step

PACE = Pace(apart=timedelta(seconds=2), span=timedelta(seconds=15), window=timedelta(seconds=300))
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(seconds: float | None) -> datetime | None:
    return None if seconds is None else NOON + timedelta(seconds=seconds)


def again(seconds: float) -> Step:
    return Step(False, timedelta(seconds=seconds))


BACK = Step(True)
# a policy's first refusal, the first good answer, this good answer: seconds after noon
TABLE = [
    # the key's state or a button: no policy refused
    ("the first answer never suffices", None, None, 0, again(2)),
    ("too early", None, 0, 1.9, again(0.1)),
    ("two seconds apart", None, 0, 2, BACK),
    ("long apart", None, 0, 400, BACK),
    ("a clock that was set back waits, but not for long", None, 50, 0, again(5)),
    # a policy refused a moment ago: a yes may be stale
    ("the first after a policy's refusal", 0, None, 10, again(5)),
    ("two seconds are not enough then", 0, 10, 12, again(5)),
    ("the last step is as short as what is left", 0, 10, 22, again(3)),
    ("nearly", 0, 10, 24.9, again(0.1)),
    ("spanning fifteen seconds", 0, 10, 25, BACK),
    # at the end of the window
    ("within the window", 0, 284, 299.9, BACK),
    ("just within it", 0, 297, 299.5, again(5)),
    ("the window has passed", 0, 298, 300, BACK),
    ("the first one after the window", 0, None, 300, again(2)),
    ("long after it", 0, 86_400, 86_402, BACK),
    ("long after it, too early", 0, 86_400, 86_401, again(1)),
]


@pytest.mark.parametrize(("denied", "good", "now", "step"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_a_good_answer_brings_the_key_back_or_is_followed_by_another(
    denied: float | None, good: float | None, now: float, step: Step
) -> None:
    answered = at(now)
    assert answered is not None
    assert timing.after_good_answer(answered, good_since=at(good), denied_since=at(denied), pace=PACE) == step


def test_even_with_no_times_at_all_two_good_answers_are_needed() -> None:
    nothing = Pace(timedelta(0), timedelta(0), timedelta(0))
    assert timing.after_good_answer(NOON, good_since=None, denied_since=NOON, pace=nothing) == again(0)
    assert timing.after_good_answer(NOON, good_since=NOON, denied_since=NOON, pace=nothing) == BACK


@pytest.mark.parametrize(
    ("asked", "under_way", "due"),
    [
        (None, None, 0),
        (-10, None, 0),
        (-2, None, 0),
        (-0.5, None, 1.5),  # one was asked for a moment ago
        (None, -0.5, 1.5),  # one is under way
        (-300, -1, 1),
        (-0.5, -1, 1.5),
        (-0.5, -40, 1.5),
    ],
)
def test_a_probe_is_asked_for_at_most_every_two_seconds(
    asked: float | None, under_way: float | None, due: float
) -> None:
    assert timing.may_ask_at(NOON, asked_at=at(asked), under_way_since=at(under_way)) == at(due)
