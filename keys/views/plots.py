"""Numbers → the rectangles of a plot; its words stay in the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from keys.overview.outages import Day

HEIGHT = 40  # of the viewBox; a unit of its width is a day
BAR = 0.76
CALM = 12  # from the top of a day on which nothing happened: what is unusual is taller as well as coloured


@dataclass(frozen=True, slots=True)
class Bar:
    x: str
    y: str
    height: str
    css: str


def bars(numbers: Sequence[int], days: Sequence[date]) -> list[Bar]:
    """Return a bar for each day, the highest number as high as the plot."""
    top = max(numbers, default=0) or 1
    found = []
    for at, (number, day) in enumerate(zip(numbers, days, strict=True)):
        height = round(HEIGHT * number / top, 2)
        found.append(_bar(at, HEIGHT - height, "weekend" if day.weekday() > 4 else ""))
    return found


def health(days: Sequence[Day]) -> list[Bar]:
    """Return a bar for each day, coloured by the gravest that happened on it."""
    return [
        _bar(at, 0 if day.whose else CALM, day.whose.value if day.whose else "before" if day.is_before else "")
        for at, day in enumerate(days)
    ]


def _bar(at: int, y: float, css: str) -> Bar:
    return Bar(f"{at + (1 - BAR) / 2:.2f}", f"{y:.2f}", f"{HEIGHT - y:.2f}", css)
