"""What failed → the remedies, in the order to apply them, one for each document; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from byokportal import words
from keys.models import CheckResult
from keys.policies import difference
from keys.proof.diagnosis import causes as vocabulary
from keys.proof.encryption_test import refusals
from keys.proof.encryption_test.base import Verdict
from keys.proof.encryption_test.report import chain

DOCUMENTS = {
    refusals.TRUST: "The trust policy of your role",
    refusals.PERMISSIONS: "The permissions policy of your role",
    refusals.KEY_POLICY: "The key policy of your key",
    refusals.KEY: "Your key",
    refusals.BOUNDARY: "The permissions boundary of your role",
    refusals.SCP: "A service control policy of your organization",
    refusals.RCP: "A resource control policy of your organization",
}
WITHOUT_DOCUMENT = {1: "Your key", 2: "Your role", 3: "The key policy of your key"}


@dataclass(frozen=True, slots=True)
class Remedy:
    """One document of one step, and every check that failed for it.

    Attributes:
        headline: which document of which step.
        changes: the changes in words; several when one document lacks several things.
        causes: labels still possible, likeliest first.
    """

    step: int
    document: str
    headline: str
    changes: tuple[str, ...]
    causes: tuple[str, ...]
    checks: tuple[CheckResult, ...]

    @property
    def first(self) -> CheckResult:
        """The row whose corrected document and command are shown: the document is the remedy of all of them."""
        return self.checks[0]

    @property
    def likeliest(self) -> tuple[str, ...]:
        """The label that each change is for."""
        return tuple(dict.fromkeys(row.causes[0] for row in self.checks if row.causes))

    @property
    def others(self) -> list[tuple[str, str]]:
        """The causes that fit as well: each label and its remedy."""
        action = str(self.first.evidence.get("action") or "the action")
        left = [label for label in self.causes if label not in self.likeliest]
        return [(label, _words(label).replace("{action}", action)) for label in left]

    @property
    def corrected_label(self) -> str:
        """What the corrected document is."""
        what = (
            "statement"
            if self.document == refusals.KEY_POLICY and "Version" not in self.first.corrected
            else "document"
        )
        return f"The whole {what} as it has to read"

    @property
    def difference(self) -> list[difference.Line]:
        """The lines that change; empty when AWS's answers do not tell what stands there."""
        return difference.lines(self.first.inferred, self.first.corrected) if self.first.inferred else []


def in_order(rows: Iterable[CheckResult]) -> list[Remedy]:
    """Return the remedies, in the order of `chain.rank`."""
    decide = (row for row in rows if not row.code.startswith("hygiene."))
    failed = sorted((row for row in decide if row.verdict == Verdict.FAIL), key=chain.rank)
    groups: dict[tuple[int, str], list[CheckResult]] = {}
    for row in failed:
        groups.setdefault((row.step, row.document), []).append(row)
    return [_remedy(step, document, group) for (step, document), group in groups.items()]


def _words(label: str) -> str:
    cause = vocabulary.CAUSES.get(label)
    return cause.remedy if cause else words.of(label)


def _remedy(step: int, document: str, rows: Sequence[CheckResult]) -> Remedy:
    what = DOCUMENTS.get(document) or WITHOUT_DOCUMENT.get(step, "Something")
    return Remedy(
        step,
        document,
        f"{what} needs a change (step {step})",
        tuple(dict.fromkeys(row.remedy for row in rows if row.remedy)),
        tuple(dict.fromkeys(cause for row in rows for cause in row.causes)),
        tuple(rows),
    )
