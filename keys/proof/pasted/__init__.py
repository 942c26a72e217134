"""What a policy that the customer pasted grants us, what is missing, what is too wide, and the corrected text; pure.

`json_reader`, `json_document` and `unwrapping` make a policy with lines of the text, `characters` names what belongs
in no policy, `policy_grammar` looks at the elements, `trust_policy`, `permissions_policy` and `key_policy` ask the
evaluator what it grants, `writing` renders the corrected one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Literal

from byokportal.translation import translate as _
from keys.policies import documents
from keys.proof.pasted import (
    grants,
    json_document,
    key_policy,
    partitions,
    permissions_policy,
    policy_grammar,
    trial_requests,
    trust_policy,
    unwrapping,
    writing,
)
from keys.proof.pasted.findings import NAMES, UNREADABLE, Finding, Given, Kind, Note, Path, Policy, Values, shown
from keys.proof.pasted.json_document import Document

Verdict = Literal["ok", "incomplete", "unsafe", "unreadable"]
JUDGES: dict[Kind, ModuleType] = {"trust": trust_policy, "permissions": permissions_policy, "key": key_policy}
# IAM and KMS quotas: a role trust policy, a managed policy (white space not counted),
# a key policy (bytes, all counted).
LIMITS = {"trust": 2_048, "permissions": 6_144, "key": 32_768}
RAISED = {"trust": 4_096, "permissions": 10_240, "key": 32_768}  # raised on request; as an inline policy; no higher
MOST_NOTES = 60
MOST_STATEMENTS = 100  # several times what a real policy has; each is asked about many times
# Of such a document nothing is kept: the statement to add stands alone.
BEYOND = {"too_many_mistakes", "too_many_statements"}


@dataclass(frozen=True, slots=True)
class PastedPolicy:
    """The verdict, the findings, and the document as it should be, in full.

    Args:
        before: the policy as it stood, written like `corrected`, so that the two can be compared;
            "" when it could not be read.
    """

    verdict: Verdict
    findings: list[Finding]
    corrected: str
    before: str = ""


def lint(kind: Kind, text: str, values: Values) -> PastedPolicy:
    """Read a policy.

    Args:
        kind: which document of the guide it is meant to be.
        text: as pasted; at most 65,536 characters are read.
    """
    document = unwrapping.read(text, kind, values)
    notes = list(_notes(kind, document, values))
    findings = _findings(document, notes)
    verdict = _verdict(findings)
    if document.unread or any(note.code in BEYOND for note in notes):
        return _statement_alone(kind, verdict, findings, values)
    if document.policy is None:
        return PastedPolicy(verdict, findings, documents.render(JUDGES[kind].wanted(values)))
    before = writing.render(document.policy, document)
    if verdict == "ok" and all(note.severity == "info" for note in notes):
        return PastedPolicy(verdict, findings, before, before)
    if any(note.code == "other_kind" for note in notes):
        return PastedPolicy(verdict, findings, documents.render(JUDGES[kind].wanted(values)), before)
    corrected = _corrected(kind, document, values)
    if corrected is None:
        return _statement_alone(kind, verdict, findings, values)
    left_out = [
        Finding(each.code, each.severity, document.line(each.path), each.text, each.fix)
        for each in _left_out(document.policy, corrected)
    ]
    return PastedPolicy(verdict, [*findings, *left_out], corrected, before)


def _statement_alone(kind: Kind, verdict: Verdict, findings: list[Finding], values: Values) -> PastedPolicy:
    """Return the bare statement to add, where theirs cannot be kept beside it: a whole policy would replace them."""
    *_others, ours = JUDGES[kind].wanted(values)["Statement"]
    note = Finding(
        "statement_alone",
        "warning",
        findings[0].line if findings else 1,
        _(
            "We could not read all of this, so what stands below is no whole %(name)s: it is the one "
            "statement that yours needs for us.",
            name=_(NAMES[kind]),
        ),
        _("Add it to the Statement list of what you have, and leave your own statements there."),
    )
    return PastedPolicy(verdict, [*findings, note], documents.render(ours))


def _left_out(policy: Policy, corrected: str) -> Iterator[Note]:
    """Name their statements, as far as they have a Sid, that the corrected document does not hold."""
    kept = {statement.get("Sid") for _, statement in trial_requests.statements(json.loads(corrected))}
    for path, statement in trial_requests.statements(policy):
        sid = statement.get("Sid")
        if isinstance(sid, str) and sid and sid not in kept and re.sub("[^A-Za-z0-9]", "", sid) not in kept:
            yield Note(
                "statement_left_out",
                "warning",
                path,
                _(
                    "Your statement %(sid)s is not in the document below: AWS does not take it as it stands, or "
                    "it lets in more than our one role.",
                    sid=shown(sid, most=60),
                ),
                _("Correct it as said here and add it, if you need it beside ours."),
            )


def granted(kind: Kind, text: str, values: Values) -> dict[str, Given]:
    """Return what a policy gives us by itself, `sts:AssumeRole` or patterns of the guide: for certain, or as far as we
    can see; what it does not give is left out. The arguments are those of `lint`."""
    policy = unwrapping.read(text, kind, values).policy
    if policy is None or len(policy["Statement"]) > MOST_STATEMENTS or _other_kind(kind, policy) is not None:
        return {}
    if kind == "trust":
        decision = trial_requests.decide("trust", policy, trial_requests.right(policy, values))
        if trial_requests.is_refused(decision):
            return {}
        return {"sts:AssumeRole": "given" if decision.allowed else "unseen"}
    use = permissions_policy.use_of(policy, values) if kind == "permissions" else key_policy.use_of(policy, values)
    return grants.granted(use) if use is not None else {}


def _verdict(findings: list[Finding]) -> Verdict:
    errors = {finding.code for finding in findings if finding.severity == "error"}
    if errors & UNREADABLE:
        return "unreadable"
    if any(code.startswith("too_wide") for code in errors):
        return "unsafe"
    return "incomplete" if errors else "ok"


def _findings(document: Document, notes: list[Note]) -> list[Finding]:
    found = [Finding(flaw.code, "error", flaw.line, flaw.text, flaw.fix) for flaw in document.flaws]
    found += [Finding(note.code, note.severity, document.line(note.path), note.text, note.fix) for note in notes]
    ranks = {"error": 0, "warning": 1, "info": 2}
    return sorted(dict.fromkeys(found), key=lambda finding: (ranks[finding.severity], finding.line))


def _notes(kind: Kind, document: Document, values: Values) -> Iterator[Note]:
    policy = document.policy
    if policy is None:
        return
    length = _length(kind, document)
    if length > LIMITS[kind]:
        text = (
            _(
                "This has %(length)s bytes; AWS takes %(limit)s in a %(name)s.",
                length=f"{length:,}",
                limit=f"{LIMITS[kind]:,}",
                name=_(NAMES[kind]),
            )
            if kind == "key"
            else _(
                "This has %(length)s characters, blanks and line ends not counted; AWS takes %(limit)s in a %(name)s.",
                length=f"{length:,}",
                limit=f"{LIMITS[kind]:,}",
                name=_(NAMES[kind]),
            )
        )
        yield Note(
            "too_large",
            "error",
            (),
            text,
            _("Take out what is not needed for this role, or use the document below."),
        )
        if length > RAISED[kind]:
            return  # AWS takes it nowhere, so it is in force nowhere
    if len(policy["Statement"]) > MOST_STATEMENTS:
        yield Note(
            "too_many_statements",
            "error",
            ("Statement",),
            _(
                "This has %(number)s statements; we read at most %(most_statements)s.",
                number=len(policy["Statement"]),
                most_statements=MOST_STATEMENTS,
            ),
            _("Put statements for the same actions together, and paste it again."),
        )
        return
    other = _other_kind(kind, policy)
    if other is not None:
        yield other
        return
    found = list(islice(policy_grammar.notes(kind, policy, values), MOST_NOTES + 1))
    yield from found[:MOST_NOTES]
    if len(found) > MOST_NOTES:  # what AWS refuses sixty times over is in force nowhere
        yield Note(
            "too_many_mistakes",
            "error",
            (),
            _("There are more than %(most_notes)s mistakes; these are the first.", most_notes=MOST_NOTES),
            _("Use the document below."),
        )
        return
    yield from partitions.notes(policy, values)
    yield from JUDGES[kind].notes(policy, values)


def _length(kind: Kind, document: Document) -> int:
    at = document.spans.get(id(document.value)) if document.prefix else None
    text = document.source[at[0] : at[1]] if at else document.source
    return len(text.strip().encode("utf-8", "replace")) if kind == "key" else len("".join(text.split()))


def _other_kind(kind: Kind, policy: Policy) -> Note | None:
    """Name a policy that is plainly of another kind than asked for."""
    statements = trial_requests.statements(policy)
    with_principal = [(path, each) for path, each in statements if "Principal" in each or "NotPrincipal" in each]
    if kind == "permissions":
        if not with_principal:
            return None
        path, statement = with_principal[0]
        what = "trust" if "Resource" not in statement and "NotResource" not in statement else "key"
        element = "Principal" if "Principal" in statement else "NotPrincipal"
        return Note(
            "other_kind",
            "error",
            (*path, element),
            _(
                "This names a Principal, so it is a %(name)s; the permissions policy of a role names none.",
                name=_(NAMES[what]),
            ),
            _("Paste the permissions policy that is attached to the role. The document below is what it has to say."),
        )
    if statements and not with_principal:
        return Note(
            "other_kind",
            "error",
            statements[0][0],
            _("This names no Principal, so it is a permissions policy; a %(name)s says who.", name=_(NAMES[kind])),
            _("Paste the %(name)s. The document below is what it has to say.", name=_(NAMES[kind])),
        )
    actions = {str(name).lower().partition(":")[0] for _, each in statements for name in _listed(each.get("Action"))}
    if kind == "trust" and with_principal and actions == {"kms"}:
        return Note(
            "other_kind",
            "error",
            (*with_principal[0][0], "Action"),
            _("These are actions of KMS, so it is a key policy; a trust policy says who may take the role."),
            _("Paste the trust policy of the role. The document below is what it has to say."),
        )
    if kind == "key" and with_principal and actions == {"sts"}:
        return Note(
            "other_kind",
            "error",
            (*with_principal[0][0], "Action"),
            _("These are actions of STS, so it is the trust policy of a role; a key policy says who may use the key."),
            _("Paste the key policy. The document below is what it has to say."),
        )
    return None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _corrected(kind: Kind, document: Document, values: Values) -> str | None:
    """Return the first document that reads as right: theirs corrected; without the statements that cannot be;
    None when there is none, and the guide's own where they had no other."""
    policy = document.policy
    assert policy is not None
    judge = JUDGES[kind]
    last = judge.wanted(values, policy)
    if _length(kind, document) <= RAISED[kind]:
        corrected = judge.corrected(policy, values)
        text = writing.render(corrected, document)
        faults = _errors(kind, text, values)
        if not faults:
            return text
        # Their statements that AWS would refuse, or that are too wide, cannot be kept.
        bad = {path[:2] for path in faults}
        kept = [each for at, each in enumerate(corrected["Statement"]) if ("Statement", at) not in bad]
        # Once more: what was left out may have been what let us, or an administrator, in.
        text = writing.render(judge.corrected({**corrected, "Statement": kept}, values), document)
        if kept and not _errors(kind, text, values):
            return text
    others = [each for _, each in trial_requests.statements(policy) if each]
    return documents.render(last) if len(others) <= 1 else None


def _errors(kind: Kind, text: str, values: Values) -> list[Path]:
    document = unwrapping.read(text)
    if document.policy is None or document.flaws:
        return [()]
    return [note.path for note in _notes(kind, document, values) if note.severity == "error"]


__all__ = [
    "LIMITS",
    "NAMES",
    "Finding",
    "Given",
    "Kind",
    "PastedPolicy",
    "Verdict",
    "granted",
    "json_document",
    "lint",
    "unwrapping",
]
