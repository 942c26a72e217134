"""Reads in the back office what a customer sent: a policy, the output of a command, or an AWS error; keeps nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from byokportal.errors import DomainError
from keys import services as key_services
from keys.proof.diagnosis import advice, causes, parsing, redaction
from support.admin.explain import TURNS
from tenants.models import Tenant

# Characters that are read.
LONGEST = 64 * 1024


@dataclass(frozen=True, slots=True)
class Read:
    """What a text means.

    Attributes:
        headline: the answer in a sentence.
        points: the same in detail: (where, what).
        answer: a text for the customer; "" when there is nothing to send.
        secrets: kinds of secrets that the text held; they were taken out before anything was read.
    """

    headline: str
    points: list[tuple[str, str]]
    answer: str = ""
    secrets: tuple[str, ...] = ()


def read(tenant: Tenant, text: str) -> Read:
    """Tell what a text means in the values of this tenant, whatever it is."""
    text, secrets = redaction.removed(text[:LONGEST])
    text = text.replace("\x00", "").encode("utf-8", "replace").decode()
    found = tuple(dict.fromkeys(secrets))
    if not text.strip():
        return Read("There is nothing to read.", [], secrets=found)
    kind = _kind(text)
    try:
        if kind:
            return _policy(tenant, kind, text, found)
    except DomainError as error:
        return Read(f"{error.title}. {error}", [], secrets=found)
    explained = parsing.read(text, operation="")
    if explained.causes:
        points = [
            (
                advice.where(label, causes.step_of(label, explained.error)),
                advice.remedy_of(label, explained.error),
            )
            for label in explained.causes
        ]
        return Read(TURNS[advice.turn_of(explained.steps)], points, explained.answer, found)
    try:
        output = key_services.read_output(tenant, text=text)
    except DomainError as error:
        return Read(f"{error.title}. {error}", [], secrets=found)
    points = [(POINTS[point.verdict], f"{point.text} {point.fix}".strip()) for point in output.points]
    return Read(output.text or explained.text, points, secrets=found)


def _kind(text: str) -> str:
    """Tell which of the guide's three policies a text is meant as, "" for none."""
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    looks_so = '"Statement"' in text
    if not looks_so or (parsed is not None and not isinstance(parsed, dict)):
        return ""
    if "sts:AssumeRole" in text and '"Principal"' in text:
        return "trust"
    return "key" if '"Principal"' in text else "permissions"


POINTS = {"good": "Good", "bad": "Needs a change", "unclear": "Unclear"}
KINDS = {"trust": "trust policy", "permissions": "permissions policy", "key": "key policy"}
VERDICTS = {
    "ok": "This {kind} says what the guide asks for, and lets nobody else in.",
    "incomplete": "With this {kind} we cannot use their key.",
    "unsafe": "This {kind} lets others in.",
    "unreadable": "AWS would not save this {kind}.",
}


def _policy(tenant: Tenant, kind: str, text: str, secrets: tuple[str, ...]) -> Read:
    reading = key_services.check_policy(tenant, kind=kind, text=text)
    headline = VERDICTS.get(str(reading.verdict), "We read this {kind}.").format(kind=KINDS[kind])
    points = [(f"line {finding.line}", f"{finding.text} {finding.fix}".strip()) for finding in reading.findings]
    return Read(headline, points, reading.corrected or "", secrets)
