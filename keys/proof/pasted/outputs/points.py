"""One thing that an output shows; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Point:
    """One thing: good, bad or unclear, in a sentence, and how to correct it."""

    verdict: Literal["good", "bad", "unclear"]
    code: str
    text: str
    fix: str = ""
