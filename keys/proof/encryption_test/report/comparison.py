"""Runs of the test side by side: checks as rows, runs as columns, and what changed from one run to the next; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byokportal import stored_sentences
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.models import CheckResult, EncryptionTest
from keys.proof.encryption_test.base import Verdict
from keys.proof.encryption_test.report import remedy_order

NOW = {
    Verdict.PASS: lazy("now passes"),
    Verdict.FAIL: lazy("now fails"),
    Verdict.SKIPPED: lazy("is now skipped"),
    Verdict.UNKNOWN: lazy("cannot be told now"),
}
WAS = {
    Verdict.PASS: lazy("passed"),
    Verdict.FAIL: lazy("was refused"),
    Verdict.SKIPPED: lazy("was skipped"),
    Verdict.UNKNOWN: lazy("could not be told"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One check in one run.

    Attributes:
        change: what became of it since the run before, in words; "" when nothing did.
        is_better: it passes now; None when nothing changed.
        is_news: it was asked both times.
    """

    check: CheckResult | None
    change: str = ""
    is_better: bool | None = None
    is_news: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One check through all runs."""

    code: str
    title: str
    step: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """One test in the list.

    Attributes:
        first_failing: the row to correct first; None when nothing failed.
    """

    test: EncryptionTest
    first_failing: CheckResult | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs, newest first."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]

    @property
    def news(self) -> list[str]:
        """What the newest run changed, in sentences;
        a check that was skipped hung on another, so it is no news of its own."""
        return [f"{row.title}: {row.cells[0].change}." for row in self.rows if row.cells[0].is_news]


def compare(tests: Sequence[EncryptionTest], *, shown: int) -> Comparison:
    """Compare runs.

    Args:
        tests: newest first, with their checks prefetched;
            the one after those shown is what the last of them is compared with.
        shown: how many of them are columns.
    """
    checks = [{row.code: row for row in test.checks.all()} for test in tests]
    newest: dict[str, CheckResult] = {}
    for run in reversed(checks[:shown]):  # the newest run's words win
        newest.update(run)
    rows = [
        Row(
            row.code,
            stored_sentences.again(row.title) or row.code,
            row.step,
            tuple(_cell(checks, index, row.code) for index in range(min(shown, len(tests)))),
        )
        for row in sorted(newest.values(), key=lambda row: row.position)
    ]
    return Comparison(tuple(_run(test) for test in tests[:shown]), tuple(rows))


def _run(test: EncryptionTest) -> Run:
    remedies = remedy_order.in_order(test.checks.all())
    return Run(test, remedies[0].first if remedies else None)


def _cell(runs: Sequence[Mapping[str, CheckResult]], index: int, code: str) -> Cell:
    check = runs[index].get(code)
    before = runs[index + 1].get(code) if index + 1 < len(runs) else None
    if check is None or before is None or check.verdict == before.verdict:
        return Cell(check)
    change = f"{_(WAS[Verdict(before.verdict)])}, {_(NOW[Verdict(check.verdict)])}"
    is_news = Verdict.SKIPPED not in {check.verdict, before.verdict}
    return Cell(check, change, check.verdict == Verdict.PASS, is_news)
