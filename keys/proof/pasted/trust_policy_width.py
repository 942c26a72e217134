"""A trust policy that lets others in: found by asking, and named by the words that let them in; pure.

Whether it is too wide is decided by a battery of calls that nobody may make, not by looking for known
mistakes: what no rule foresaw is found too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from byokportal.translation import translate as _
from keys.policies import conditions
from keys.policies.evaluator import Request
from keys.proof.pasted import trial_requests, witnesses
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NOBODYS = "byok-of-nobody"
MOST_IDS = 20  # External IDs of one policy that are tried; more stand for too wide anyway
ELSEWHERE = "198.51.100.10"  # belongs to nobody (RFC 5737)
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
    right = trial_requests.assume(values, who, values.access.external_id)
    gets_in = trial_requests.decide("trust", policy, right).allowed
    named = set(trial_requests.named_ids(policy))
    allows = [found for found in trial_requests.statements(policy) if found[1].get("Effect") == "Allow"]
    for code, external_id in _battery(policy, values):
        if external_id in named and not gets_in:
            continue  # one wrong id in place of theirs: a slip, and `_missing` says so
        request = trial_requests.assume(values, who, external_id)
        for path, statement in allows:
            if path in reported:
                continue
            made = witnesses.fitting(policy, statement, request, ours=True)
            if trial_requests.lets(policy, statement, made, kind="trust"):
                reported.add(path)
                yield _too_wide(code, path, statement, external_id, values)
    yield from _strangers(policy, allows, values)


def _strangers(policy: Policy, allows: list[tuple[Path, dict[str, Any]]], values: Values) -> Iterator[Note]:
    elsewhere = replace(values, address=ELSEWHERE)
    for path, statement in allows:
        if not ("NotPrincipal" in statement or "*" in trial_requests.principals(statement)):
            continue
        request = next(_let_in(policy, statement, elsewhere), None)
        if request is None:
            continue
        name = "NotPrincipal" if "NotPrincipal" in statement else "Principal"
        means = (
            _("NotPrincipal means everybody but those named")
            if name == "NotPrincipal"
            else _("The Principal * means everybody")
        )
        given = conditions.lookup(request.context, "sts:ExternalId")
        yield Note(
            "too_wide_not_principal" if name == "NotPrincipal" else "too_wide_principal",
            "error",
            (*path, name),
            _(
                "%(means)s: any AWS account that knows your External ID gets into your role. %(described)s.",
                means=means,
                described=witnesses.described(request),
            )
            if given
            else _(
                "%(means)s: any AWS account without any External ID gets into your role. %(described)s.",
                means=means,
                described=witnesses.described(request),
            ),
            _('Set "Principal": {"AWS": "%(service_role)s"}.', service_role=values.access.service_role),
        )


def _let_in(policy: Policy, statement: dict[str, Any], values: Values) -> Iterator[Request]:
    """Yield calls of strangers that a statement lets through."""
    for action in ("sts:AssumeRole", *FEDERATED):
        for stranger in witnesses.strangers(policy):
            for given in (None, values.access.external_id):
                request = trial_requests.assume(values, stranger, given, action=action)
                request = witnesses.fitting(policy, statement, request)
                if trial_requests.lets(policy, statement, request, kind="trust"):
                    yield request


def _too_wide(code: str, path: Path, statement: Mapping[str, Any], given: str | None, values: Values) -> Note:
    """Say which words let another External ID in."""
    remedy = _(
        'Write "Condition": {"StringEquals": {"sts:ExternalId": "%(external_id)s"}}, and no other '
        "condition on sts:ExternalId.",
        external_id=values.access.external_id,
    )
    how = (
        _("without any External ID")
        if given is None
        else _("with %(given)s as External ID", given=shown(given, most=40) if given else _("an empty text"))
    )
    so = _(
        "%(service_role)s gets in %(how)s (sts:AssumeRole on %(role)s), so another customer of ours "
        "could be made to reach your key by mistake or malice.",
        service_role=values.access.service_role,
        how=how,
        role=values.access.role or _("your role"),
    )
    found = trial_requests.external_id_conditions(statement)
    if not found:
        where = (*path, "Condition") if "Condition" in statement else path
        return Note(
            "too_wide_no_external_id",
            "error",
            where,
            _("This statement asks for no External ID. %(so)s", so=so),
            remedy,
        )
    operator, key, texts = next(
        ((op, key, texts) for op, key, texts in found if given is None or _lets(op, key, texts, given)), found[0]
    )
    where = (*path, "Condition", operator, key)
    name = operator.lower()
    quoted = shown(operator, most=40)
    if name.startswith("forallvalues:"):
        return Note(
            "too_wide_for_all_values",
            "error",
            where,
            _("%(quoted)s holds also when no External ID is sent. %(so)s", quoted=quoted, so=so),
            remedy,
        )
    if name.endswith("ifexists"):
        return Note(
            "too_wide_if_exists",
            "error",
            where,
            _("%(quoted)s holds also when no External ID is sent. %(so)s", quoted=quoted, so=so),
            remedy,
        )
    if name == "null":
        return Note(
            "too_wide_null",
            "error",
            where,
            _("Null asks only whether an External ID is sent, not which. %(so)s", so=so),
            remedy,
        )
    if "not" in name:
        return Note(
            "too_wide_negated",
            "error",
            where,
            _("%(quoted)s lets every External ID in but those named. %(so)s", quoted=quoted, so=so),
            remedy,
        )
    if "ignorecase" in name:
        return Note(
            "too_wide_ignore_case",
            "error",
            where,
            _(
                "%(quoted)s does not tell capital from small letters, and External IDs differ in them. %(so)s",
                quoted=quoted,
                so=so,
            ),
            remedy,
        )
    if "like" in name and any("*" in each or "?" in each for each in texts):
        return Note(
            "too_wide_wildcard",
            "error",
            where,
            _("The wildcard in %(texts)s lets other External IDs in. %(so)s", texts=shown(texts[0], most=60), so=so),
            remedy,
        )
    if len(texts) > 1:
        other = next((at for at, each in enumerate(texts) if each != values.access.external_id), 0)
        return Note(
            "too_wide_other_external_id",
            "error",
            (*where, other),
            _(
                "%(texts)s is not your External ID, and it opens the role too. %(so)s",
                texts=shown(texts[other], most=60),
                so=so,
            ),
            _("Take it out: %(remedy)s", remedy=remedy),
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
                    _(
                        "%(operator)s is made for keys with several values; sts:ExternalId has one, and AWS warns "
                        "that it may let more in than meant.",
                        operator=shown(operator, most=40),
                    ),
                    _(
                        'Write "StringEquals": {"sts:ExternalId": "%(external_id)s"}.',
                        external_id=values.access.external_id,
                    ),
                )
            elif operator.lower() not in {"stringequals", "null"} and values.access.external_id in texts:
                yield Note(
                    "external_id_operator",
                    "warning",
                    where,
                    _(
                        "%(operator)s does here what StringEquals does; one sign more in the value and it would not.",
                        operator=shown(operator, most=40),
                    ),
                    _('Write "StringEquals".'),
                )
