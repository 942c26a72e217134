"""What failed, or is about to → the remedies, in the order to apply them, one for each document; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from byokportal import stored_sentences, words
from byokportal.translation import translate as _
from keys.models import CheckResult
from keys.policies import difference
from keys.proof.diagnosis import causes as vocabulary
from keys.proof.encryption_test import refusals
from keys.proof.encryption_test.base import PROPAGATION, Verdict
from keys.proof.encryption_test.report import chain


@dataclass(frozen=True, slots=True)
class Remedy:
    """One document of one step, and every check that failed for it.

    Attributes:
        what: the document, as a sentence says it.
        headline: which document of which step.
        changes: the changes in words; several when one document lacks several things.
        causes: labels still possible, likeliest first.
    """

    step: int
    document: str
    what: str
    headline: str
    changes: tuple[str, ...]
    causes: tuple[str, ...]
    checks: tuple[CheckResult, ...]

    @property
    def first(self) -> CheckResult:
        """The row whose corrected document and command are shown: the document is the remedy of all of them."""
        return self.checks[0]

    @property
    def counts_at(self) -> datetime | None:
        """From when on the last of AWS's answers counts; None: they do."""
        return max((row.final_at for row in self.checks if row.final_at), default=None)

    @property
    def likeliest(self) -> tuple[str, ...]:
        """The label that each change is for."""
        return tuple(dict.fromkeys(row.causes[0] for row in self.checks if row.causes))

    @property
    def others(self) -> list[tuple[str, str]]:
        """The causes that fit as well: each label and its remedy."""
        action = str(self.first.evidence.get("action") or _("the action"))
        left = [label for label in self.causes if label not in self.likeliest]
        return [(label, _words(label).replace("%(action)s", action)) for label in left]

    @property
    def corrected_label(self) -> str:
        """What the corrected document is."""
        if "spares" in self.first.evidence:
            return _("The condition to add to the Deny statement")
        is_statement = self.document == refusals.KEY_POLICY and "Version" not in self.first.corrected
        return _("The whole statement as it has to read") if is_statement else _("The whole document as it has to read")

    @property
    def difference(self) -> list[difference.Line]:
        """The lines that change; empty when AWS's answers do not tell what stands there."""
        return difference.lines(self.first.inferred, self.first.corrected) if self.first.inferred else []


def in_order(rows: Iterable[CheckResult]) -> list[Remedy]:
    """Return the remedies of what failed, in the order of `chain.rank`."""
    return _grouped(row for row in rows if row.verdict == Verdict.FAIL)


def likely(rows: Iterable[CheckResult]) -> list[Remedy]:
    """Return the remedies of what AWS refuses while a change may still be on its way: due when they count."""
    return _grouped(row for row in rows if row.verdict == Verdict.UNKNOWN and row.remedy)


def _grouped(rows: Iterable[CheckResult]) -> list[Remedy]:
    groups: dict[tuple[int, str, bool], list[CheckResult]] = {}
    for row in sorted((row for row in rows if not row.code.startswith("hygiene.")), key=chain.rank):
        # of one document a statement is missing and a Deny is there: two changes, two texts
        groups.setdefault((row.step, row.document, "spares" in row.evidence), []).append(row)
    return [_remedy(step, document, group) for (step, document, _), group in groups.items()]


def _words(label: str) -> str:
    if label.endswith("explicit_deny"):
        return _("A Deny statement covers it: keep the Deny, and let it spare us by ArnNotEquals on aws:PrincipalArn.")
    cause = vocabulary.CAUSES.get(label)
    return _(cause.remedy) if cause else words.of(label)


def _remedy(step: int, document: str, rows: Sequence[CheckResult]) -> Remedy:
    what = chain.what_of(rows[0])
    return Remedy(
        step,
        document,
        what,
        _("%(what)s needs a change (step %(step)s)", what=f"{what[0].upper()}{what[1:]}", step=step),
        tuple(dict.fromkeys(stored_sentences.again(row.remedy) for row in rows if row.remedy)),
        tuple(dict.fromkeys(cause for row in rows for cause in row.causes if cause != PROPAGATION)),
        tuple(rows),
    )
