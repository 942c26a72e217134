"""A trust policy that lets others in: found by asking, and named by the words that let them in; pure.

Whether it is too wide is decided by a battery of calls that nobody may make, not by looking for known
mistakes: what no rule foresaw is found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keys.policies import conditions
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NOBODYS = "byok-of-nobody"
MOST_IDS = 20  # External IDs of one policy that are tried; more stand for too wide anyway
FEDERATED = ("sts:AssumeRoleWithWebIdentity", "sts:AssumeRoleWithSAML")


def _battery(policy: Policy, values: Values) -> Iterator[tuple[str, str | None]]:
    """Yield the External IDs with which our role must not get in, with the code of what it means if it does."""
    mine = values.access.external_id
    yield "too_wide_no_external_id", None
    yield "too_wide_any_external_id", NOBODYS
    yield "too_wide_any_external_id", "3f9c"
    for other in (mine + "x", mine + "-2", "x" + mine, mine[:-1] or "x", ""):
        yield "too_wide_other_external_id", other
    for other in (mine.swapcase(), mine.upper(), mine.lower()):
        if other != mine:
            yield "too_wide_ignore_case", other
    for named in trial_requests.named_ids(policy)[:MOST_IDS]:
        for other in (named, named.replace("*", "other").replace("?", "o"), named.replace("*", "")):
            if other != mine:
                yield "too_wide_other_external_id", other


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    who, reported = trial_requests.ours(values), set[Path]()
    right = trial_requests.decide(
        "trust", policy, trial_requests.assume(values, who, values.access.external_id)
    ).allowed
    named = set(trial_requests.named_ids(policy))
    for code, external_id in _battery(policy, values):
        if external_id in named and not right:
            continue  # one wrong id in place of theirs: a slip, and `_missing` says so
        request = trial_requests.assume(values, who, external_id)
        if not trial_requests.decide("trust", policy, request).allowed:
            continue
        for path, statement in trial_requests.allowing("trust", policy, request, but=reported):
            reported.add(path)
            yield _too_wide(code, path, statement, external_id, values)
    yield from _strangers(policy, values)


def _strangers(policy: Policy, values: Values) -> Iterator[Note]:
    reported: set[Path] = set()
    for action in ("sts:AssumeRole", *FEDERATED):
        for stranger in (trial_requests.STRANGER, trial_requests.STRANGER_ROLE):
            for given in (values.access.external_id, None):
                request = trial_requests.assume(values, stranger, given, action=action)
                if not trial_requests.decide("trust", policy, request).allowed:
                    continue
                for path, statement in trial_requests.allowing("trust", policy, request, but=reported):
                    reported.add(path)
                    name = "NotPrincipal" if "NotPrincipal" in statement else "Principal"
                    means = (
                        "NotPrincipal means everybody but those named"
                        if name == "NotPrincipal"
                        else "The Principal * means everybody"
                    )
                    how = "without any External ID" if given is None else "that knows your External ID"
                    yield Note(
                        "too_wide_not_principal" if name == "NotPrincipal" else "too_wide_principal",
                        "error",
                        (*path, name),
                        f"{means}: any AWS account {how} gets into your role.",
                        f'Set "Principal": {{"AWS": "{values.access.service_role}"}}.',
                    )


def _too_wide(code: str, path: Path, statement: Mapping[str, Any], given: str | None, values: Values) -> Note:
    """Say which words let another External ID in."""
    remedy = (
        f'Write "Condition": {{"StringEquals": {{"sts:ExternalId": "{values.access.external_id}"}}}}, '
        "and no other condition on sts:ExternalId."
    )
    how = (
        "without any External ID"
        if given is None
        else f"with {shown(given, most=40) if given else 'an empty text'} as External ID"
    )
    so = f"Our role gets in {how}, so another customer of ours could be made to reach your key by mistake or malice."
    found = trial_requests.external_id_conditions(statement)
    if not found:
        where = (*path, "Condition") if "Condition" in statement else path
        return Note("too_wide_no_external_id", "error", where, f"This statement asks for no External ID. {so}", remedy)
    operator, key, texts = next(
        ((op, key, texts) for op, key, texts in found if given is None or _lets(op, key, texts, given)), found[0]
    )
    where = (*path, "Condition", operator, key)
    name = operator.lower()
    quoted = shown(operator, most=40)
    if name.startswith("forallvalues:"):
        return Note(
            "too_wide_for_all_values", "error", where, f"{quoted} holds also when no External ID is sent. {so}", remedy
        )
    if name.endswith("ifexists"):
        return Note(
            "too_wide_if_exists", "error", where, f"{quoted} holds also when no External ID is sent. {so}", remedy
        )
    if name == "null":
        return Note(
            "too_wide_null", "error", where, f"Null asks only whether an External ID is sent, not which. {so}", remedy
        )
    if "not" in name:
        return Note(
            "too_wide_negated", "error", where, f"{quoted} lets every External ID in but those named. {so}", remedy
        )
    if "ignorecase" in name:
        return Note(
            "too_wide_ignore_case",
            "error",
            where,
            f"{quoted} does not tell capital from small letters, and External IDs differ in them. {so}",
            remedy,
        )
    if "like" in name and any("*" in each or "?" in each for each in texts):
        return Note(
            "too_wide_wildcard",
            "error",
            where,
            f"The wildcard in {shown(texts[0], most=60)} lets other External IDs in. {so}",
            remedy,
        )
    if len(texts) > 1:
        other = next((at for at, each in enumerate(texts) if each != values.access.external_id), 0)
        return Note(
            "too_wide_other_external_id",
            "error",
            (*where, other),
            f"{shown(texts[other], most=60)} is not your External ID, and it opens the role too. {so}",
            f"Take it out: {remedy}",
        )
    return Note(code, "error", where, so, remedy)


def _lets(operator: str, key: str, texts: list[str], given: str) -> bool:
    return conditions.holds({operator: {key: texts}}, {"sts:ExternalId": given})


def set_operators(
    statements: Iterable[tuple[Path, Mapping[str, Any]]], values: Values, reported: set[Path]
) -> Iterator[Note]:
    """Name what lets nobody else in today and is still no condition to build on.

    Args:
        statements: those meant for us.
        reported: where something too wide is named already.
    """
    for path, statement in statements:
        for operator, key, texts in trial_requests.external_id_conditions(statement):
            where = (*path, "Condition", operator, key)
            if any(at[: len(where)] == where for at in reported) or not conditions.readable({operator: {}}):
                continue
            if operator.lower().startswith(("foranyvalue:", "forallvalues:")):
                code = "too_wide_for_any_value" if operator.lower().startswith("forany") else "too_wide_for_all_values"
                yield Note(
                    code,
                    "error",
                    where,
                    (
                        f"{shown(operator, most=40)} is made for keys with several values; "
                        "sts:ExternalId has one, and AWS warns that it may let more in than meant."
                    ),
                    f'Write "StringEquals": {{"sts:ExternalId": "{values.access.external_id}"}}.',
                )
            elif operator.lower() not in {"stringequals", "null"} and values.access.external_id in texts:
                yield Note(
                    "external_id_operator",
                    "warning",
                    where,
                    (
                        f"{shown(operator, most=40)} does here what StringEquals does; "
                        "one sign more in the value and it would not."
                    ),
                    'Write "StringEquals".',
                )
