"""One line of the table of benchmarks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured, its number and unit, and the most (or, with `at_least`, the least) it may be."""

    name: str
    number: float
    unit: str
    target: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.number >= self.target if self.at_least else self.number <= self.target

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        verdict = "ok" if self.met else "MISSED"
        return f"{verdict:7} {self.name:64} {self.number:10.2f} {self.unit:8} {sign} {self.target:g}"
