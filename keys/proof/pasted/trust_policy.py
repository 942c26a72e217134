"""The trust policy: our role gets in with the right External ID, and nobody in any other way; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from byokportal.translation import translate as _
from keys.policies import conditions, documents, evaluator
from keys.policies.evaluator import Principal
from keys.proof.pasted import (
    denials,
    placeholders,
    policy_grammar,
    rebuilding,
    time_limits,
    trial_requests,
    trust_policy_width,
    unseen_conditions,
    witnesses,
)
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

MORE = ("sts:TagSession", "sts:SetSourceIdentity")
UNIQUE_ID = re.compile(r"A(?:ROA|IDA)[A-Z0-9]{4,}")


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what is too wide, what is missing and what is odd."""
    found = list(trust_policy_width.notes(policy, values))
    yield from found
    yield from trust_policy_width.set_operators(_ours(policy, values), values, {note.path for note in found})
    right = trial_requests.right(policy, values)
    decision = trial_requests.decide("trust", policy, right)
    if trial_requests.is_denied(decision):
        yield from denials.denied(
            "trust", policy, [right], _("Our role with your External ID is refused by it, whatever else allows it.")
        )
    elif trial_requests.is_refused(decision):
        yield from _missing(policy, right, values)
    yield from unseen_conditions.notes("trust", policy, [right])
    yield from time_limits.notes("trust", policy, [right])
    yield from _odd(policy, values)


# --- missing ---------------------------------------------------------------------------------------------------


def _ours(policy: Policy, values: Values) -> list[tuple[Path, dict[str, Any]]]:
    """Return the Allow statements that are meant for us: that name us, rightly or nearly; else our External ID;
    else the only one."""
    allows = [(path, each) for path, each in trial_requests.statements(policy) if each.get("Effect") != "Deny"]
    named = [
        (path, each)
        for path, each in allows
        if "NotPrincipal" in each or any(_is_near(name, values) for name in trial_requests.principals(each))
    ]
    if named:
        return named
    with_id = [(path, each) for path, each in allows if _asks_for(each, values.access.external_id)]
    return with_id or (allows if len(allows) == 1 else [])


def _asks_for(statement: Mapping[str, Any], external_id: str) -> bool:
    return any(external_id in texts for _, _, texts in trial_requests.external_id_conditions(statement))


def _is_near(name: str, values: Values) -> bool:
    ours = values.access.service_role
    return (
        name in {"*", ours.account}
        or evaluator.account_of(name) == ours.account
        or name.rsplit("/", 1)[-1].lower() == ours.name.lower()
        or bool(UNIQUE_ID.fullmatch(name))
        or placeholders.is_in(name)
    )


def _missing(policy: Policy, request: evaluator.Request, values: Values) -> Iterator[Note]:
    """Say which element of the statement meant for us keeps us out."""
    meant = _ours(policy, values)
    if not meant:
        yield Note(
            "missing_trust",
            "error",
            ("Statement",),
            _(
                "No statement names our role %(service_role)s, so AWS refuses us.",
                service_role=values.access.service_role,
            ),
            _("Add the statement of the document below."),
        )
        return
    by_faults = sorted(
        ((trial_requests.failing("trust", policy, each, request), path, each) for path, each in meant),
        key=lambda found: len(found[0]),
    )
    faults, path, statement = by_faults[0]
    yield Note(
        "missing_trust",
        "error",
        path,
        _("Our role does not get in with your External ID."),
        _("Mend what is named here, or use the document below as it is."),
    )
    for element in faults:
        where = (*path, element)
        if element in {"Principal", "NotPrincipal"}:
            yield from _wrong_principal(statement, where, values)
        elif element in {"Action", "NotAction"}:
            yield Note(
                "missing_action",
                "error",
                where,
                _("The statement does not allow sts:AssumeRole, which is how our role gets in."),
                _('Write "Action": "sts:AssumeRole".'),
            )
        elif element == "Condition":
            yield from _wrong_condition(policy, statement, request, where, values)


def _wrong_principal(statement: Mapping[str, Any], where: Path, values: Values) -> Iterator[Note]:
    fix = _('Set "Principal": {"AWS": "%(service_role)s"}.', service_role=values.access.service_role)
    account = values.access.service_role.account
    names = trial_requests.principals(statement)
    if not names:
        other = next(
            (kind for kind in ("Service", "Federated", "CanonicalUser") if trial_requests.principals(statement, kind)),
            "",
        )
        named = shown(trial_requests.principals(statement, other)[0]) if other else "nobody"
        what = (
            _(
                "The Principal is %(named)s, a %(other)s principal; our role is an AWS principal.",
                named=named,
                other=other.lower(),
            )
            if other
            else _("The statement names nobody.")
        )
        yield Note("principal_kind", "error", where, what, fix)
        return
    for name in names:
        if UNIQUE_ID.fullmatch(name):
            continue  # `_odd` says what that is
        quoted = shown(name, most=120)
        if name.lower() == str(values.access.service_role).lower():
            text = _(
                "%(quoted)s differs from our role in capital and small letters, which AWS tells apart.", quoted=quoted
            )
        elif ":assumed-role/" in name:
            text = _(
                "%(quoted)s is one session of a role; ours has another name each time. Name the role itself.",
                quoted=quoted,
            )
        elif evaluator.account_of(name) == account and name.rsplit("/", 1)[-1] == values.access.service_role.name:
            text = _("%(quoted)s has another path than our role, or is no role.", quoted=quoted)
        elif evaluator.account_of(name) == account:
            text = _("%(quoted)s is another principal of our account than our role.", quoted=quoted)
        elif name.rsplit("/", 1)[-1] == values.access.service_role.name:
            text = _(
                "%(quoted)s has the name of our role and stands in another account than ours, %(account)s.",
                quoted=quoted,
                account=account,
            )
        else:
            text = _("%(quoted)s is not our role.", quoted=quoted)
        yield Note("principal_mismatch", "error", (*where, "AWS"), text, fix)


def _wrong_condition(
    policy: Policy, statement: Mapping[str, Any], request: evaluator.Request, where: Path, values: Values
) -> Iterator[Note]:
    for operator, key in trial_requests.unmet(policy, statement, request):
        at = (*where, operator, key)
        if not conditions.readable({operator: {}}):
            continue  # `policy_grammar` names the operator
        if key.lower() != "sts:externalid":
            if key.lower().replace("_", "") in {"externalid", "aws:externalid", "sts:external-id"}:
                yield Note(
                    "condition_key",
                    "error",
                    at,
                    _("There is no condition key %(key)s, so this is never met.", key=shown(key)),
                    _("Write sts:ExternalId."),
                )
            else:
                yield denials.unmet(operator, key, at, request)
            continue
        found = next(
            texts
            for op, name, texts in trial_requests.external_id_conditions(statement)
            if (op, name) == (operator, key)
        )
        given = found[0] if found else ""
        if operator.lower() == "null":
            yield Note(
                "external_id_mismatch",
                "error",
                at,
                _("This asks that no External ID is sent; we always send yours."),
                _("Take the Null condition out."),
            )
            continue
        if given.strip() == values.access.external_id:
            text = _("Your External ID stands here with a blank before or after it.")
        elif given.lower() == values.access.external_id.lower():
            text = _(
                "%(given)s differs from your External ID in capital and small letters, which AWS tells apart.",
                given=shown(given, most=60),
            )
        elif values.access.external_id in given or (given and given in values.access.external_id and len(given) > 8):
            text = _("%(given)s is your External ID with something added or cut off.", given=shown(given, most=60))
        else:
            text = _("%(given)s is not your External ID.", given=shown(given, most=60))
        yield Note(
            "external_id_mismatch",
            "error",
            at,
            text,
            _("Write %(external_id)s, exactly.", external_id=values.access.external_id),
        )


# --- odd --------------------------------------------------------------------------------------------------------


def _odd(policy: Policy, values: Values) -> Iterator[Note]:
    account = values.access.service_role.account
    fix = _('Set "Principal": {"AWS": "%(service_role)s"}.', service_role=values.access.service_role)
    others: list[tuple[Path, str]] = []
    for path, statement in trial_requests.statements(policy):
        if statement.get("Effect") != "Allow":
            continue
        for kind in ("AWS", "Service", "Federated"):
            for at, name in enumerate(trial_requests.principals(statement, kind)):
                value = statement.get("Principal")
                listed = isinstance(value, dict) and isinstance(value.get(kind), list)
                where: Path = (*path, "Principal", kind, at) if listed else (*path, "Principal", kind)
                if kind == "AWS" and (name == account or name.endswith(f"::{account}:root")):
                    another = trial_requests.tenant_role(f"arn:aws:iam::{account}:role/another")
                    if _gets_in(policy, statement, another, values):
                        yield Note(
                            "account_root",
                            "warning",
                            where,
                            _(
                                "%(name)s trusts our whole account, not our one role: %(role_arn)s is let in.",
                                name=shown(name),
                                role_arn=another.role_arn,
                            ),
                            fix,
                        )
                elif kind == "AWS" and UNIQUE_ID.fullmatch(name):
                    yield Note(
                        "stale_principal",
                        "warning",
                        where,
                        _(
                            "%(name)s is what AWS shows in place of a role that was deleted, or deleted and made "
                            "again; it lets nobody in.",
                            name=shown(name),
                        ),
                        fix,
                    )
                elif (
                    name not in {"*", str(values.access.service_role)}
                    and not (kind == "AWS" and _is_near(name, values))
                    and (kind != "AWS" or policy_grammar.is_saved(name))
                    and _gets_in(policy, statement, _who(name, kind), values)
                ):
                    others.append((where, name))
        for at, action in enumerate(evaluator.listed(statement.get("Action"))):
            if (action == "*" or (action.lower().startswith("sts:") and "*" in action)) and _may_more(
                policy, statement, values
            ):
                listed = isinstance(statement.get("Action"), list)
                yield Note(
                    "action_wide",
                    "warning",
                    (*path, "Action", at) if listed else (*path, "Action"),
                    _(
                        "%(action)s allows more than our role needs: tags and source identities on the session too.",
                        action=shown(action),
                    ),
                    _('Write "Action": "sts:AssumeRole".'),
                )
        if "NotAction" in statement and _may_more(policy, statement, values):
            yield Note(
                "not_action",
                "warning",
                (*path, "NotAction"),
                _("NotAction allows everything but what it names."),
                _('Write "Action": "sts:AssumeRole".'),
            )
    for where, name in others[:5]:
        yield Note(
            "other_principal",
            "warning",
            where,
            _("%(name)s may take this role as well, and with it use your key as we do.", name=shown(name, most=120)),
            _("Take it out, unless you know that it has to be there. We keep it in the document below."),
        )


def _who(name: str, kind: str) -> Principal:
    """Return somebody whom a Principal names."""
    if kind == "Service":
        return Principal("", "", service=name)
    if kind == "Federated":
        return Principal("", "", federated=name)
    account = evaluator.account_of(name) or name
    if ":role/" in name:
        return trial_requests.tenant_role(name)
    return Principal(name if ":user/" in name or ":assumed-role/" in name else f"arn:aws:iam::{account}:root", account)


def _gets_in(policy: Policy, statement: dict[str, Any], who: Principal, values: Values) -> bool:
    """Tell whether a statement lets somebody take the role, with whatever they may set themselves."""
    for action in ("sts:AssumeRole", *trust_policy_width.FEDERATED):
        for given in (values.access.external_id, None):
            request = trial_requests.assume(values, who, given, action=action)
            request = replace(request, favoured=True)
            if trial_requests.lets(policy, statement, witnesses.fitting(policy, statement, request), kind="trust"):
                return True
    return False


def _may_more(policy: Policy, statement: dict[str, Any], values: Values) -> bool:
    """Tell whether a statement lets our role set tags or a source identity on its session."""
    who = trial_requests.ours(values)
    return any(
        trial_requests.lets(
            policy,
            statement,
            trial_requests.assume(values, who, values.access.external_id, action=action),
            kind="trust",
        )
        for action in MORE
    )


# --- corrected -----------------------------------------------------------------------------------------------------


def wanted(values: Values, policy: Policy | None = None) -> Policy:
    """Return the guide's document."""
    return documents.trust_policy(str(values.access.service_role), values.access.external_id)


def corrected(policy: Policy, values: Values) -> Policy:
    """Return their policy with our statement as the guide has it, and their statements for others as they are."""
    (guide,) = wanted(values)["Statement"]
    probe = trial_requests.right(policy, values)
    denies = {path for path, _, _ in trial_requests.denying("trust", policy, [probe])}
    kept: list[Any] = []
    placed = False
    meant = {path for path, _ in _ours(policy, values)}
    for path, statement in trial_requests.statements(policy):
        if path in denies:
            kept.append(rebuilding.sparing(statement, str(values.access.service_role)))
        elif path in meant and statement.get("Effect") != "Deny":
            if not placed:
                kept.append(guide if _is_guides(statement, guide) else rebuilding.with_sid(guide, statement))
                placed = True
            rest = _for_others(statement, values)
            if rest:
                kept.append(rest)
        else:
            kept.append(statement)
    return rebuilding.rebuilt(policy, kept if placed else [*kept, guide])


def _is_guides(statement: Mapping[str, Any], guide: Mapping[str, Any]) -> bool:
    return dict(statement) == dict(guide)


def _for_others(statement: dict[str, Any], values: Values) -> dict[str, Any] | None:
    """Return a statement for whom it names beside us, None when it names nobody else."""
    principal = statement.get("Principal")
    if not isinstance(principal, Mapping):
        return None
    rest: dict[str, Any] = {}
    for kind in principal:
        names = [
            name for name in trial_requests.principals(statement, kind) if kind != "AWS" or not _is_near(name, values)
        ]
        if names:
            rest[kind] = names if len(names) > 1 else names[0]
    strangers_only = not any(_is_near(name, values) for name in trial_requests.principals(statement))
    if not rest or strangers_only:
        return None
    return {key: ({**rest} if key == "Principal" else value) for key, value in statement.items() if key != "Sid"}
