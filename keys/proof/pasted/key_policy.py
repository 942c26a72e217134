"""The key policy: the tenant's role named with the guide's actions, nobody from elsewhere,
and somebody who can change it again; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from byokportal.translation import translate as _
from keys.arns import RoleArn
from keys.errors import ArnRefused
from keys.policies import documents
from keys.proof.pasted import grants, key_policy_width, placeholders, policy_grammar, rebuilding, trial_requests
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NO_ROLE = "<your-role-arn>"
SID = "AllowYourAppAccess"


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what is missing, what is too wide, and what would lock the customer out."""
    in_force = effective(policy)
    role = values.access.role or _named_role(in_force, values)
    yield from key_policy_width.open_to_strangers(in_force, values)
    yield from key_policy_width.lock_out(in_force, values)
    if role is None:
        yield Note(
            "arn_missing",
            "error",
            (),
            _("You have not given your Role ARN yet, so we cannot tell whether this names your role."),
            _("Give the Role ARN in step 2, then paste this again."),
        )
        return
    role_arn = str(role)
    if values.access.role is None:
        yield Note(
            "arn_missing",
            "info",
            (),
            _(
                "You have not given your Role ARN yet. We read this for the role that it names, %(role_arn)s.",
                role_arn=shown(role_arn),
            ),
            _("Give the Role ARN in step 2."),
        )
    use = _use(in_force, values, role_arn)
    yield from grants.missing(use, _meant(policy, use), values)
    yield from _left_out(in_force, values, use)
    yield from key_policy_width.wider(use, values)
    yield from _resources(policy, use)
    yield from grants.limits(use)


def effective(policy: Policy) -> Policy:
    """Return the policy with `{}` in place of what KMS saves and never applies: a statement without Action or Resource.

    Every statement keeps its place, so paths mean the same.
    """

    found = policy["Statement"]
    if isinstance(found, dict):
        return policy if grants.has_effect(found) else {**policy, "Statement": {}}
    return (
        policy
        if all(grants.has_effect(each) for each in found)
        else {**policy, "Statement": [each if grants.has_effect(each) else {} for each in found]}
    )


def use_of(policy: Policy, values: Values) -> grants.Use | None:
    """Ask for the guide's actions for the tenant's role, or for the one that the policy names;
    None when there is neither."""
    in_force = effective(policy)
    role = values.access.role or _named_role(in_force, values)
    return _use(in_force, values, str(role)) if role else None


def _use(policy: Policy, values: Values, role_arn: str) -> grants.Use:
    return grants.of("key", policy, values, key=key_policy_width.own_key(values, role_arn), role_arn=role_arn)


def _left_out(policy: Policy, values: Values, use: grants.Use) -> Iterator[Note]:
    """Yield the roles that one replaces and that the policy forgets:
    where nothing else lets them in, they are cut off at once."""
    meant = _meant(policy, use)
    for role_arn in values.beside.roles:
        refused = _use(policy, values, role_arn).refused
        if not refused:
            continue
        patterns = ", ".join(dict.fromkeys(pattern for pattern, _request in refused))
        yield Note(
            "replaced_role_missing",
            "error",
            (*meant[0], "Principal") if meant else ("Statement",),
            _(
                "%(role_arn)s is left out. It is still needed: where nothing else lets it in, this policy "
                "cuts us off at once, and what your key protects does not open.",
                role_arn=shown(role_arn, most=120),
            )
            if len(refused) == len(use.requests)
            else _(
                "%(role_arn)s is left out of %(patterns)s. It is still needed: where nothing else lets it "
                "in, this policy cuts us off at once, and what your key protects does not open.",
                role_arn=shown(role_arn, most=120),
                patterns=patterns,
            ),
            _(
                "Name both roles until the move to the new role is over and no backup needs the old one: "
                "%(principal)s.",
                principal=grants.principal(use.role_arn, values),
            ),
        )


def _named_role(policy: Policy, values: Values) -> RoleArn | None:
    """Return the role that gets all of the guide's actions, where the tenant has given none."""
    tried = 0
    for _path, statement in trial_requests.statements(policy):
        for name in trial_requests.principals(statement):
            if ":role/" not in name or name == str(values.access.service_role) or tried >= 10:
                continue
            tried += 1
            try:
                role = RoleArn.parse(name, rules=values.rules)
            except ArnRefused:
                continue
            if not _use(policy, values, str(role)).refused:
                return role
    return None


def _meant(policy: Policy, use: grants.Use) -> tuple[Path, dict[str, Any]] | None:
    """Return the statement that was meant for the role:
    the one that names it, the guide's Sid, or one that nearly names it."""
    allows = [
        (path, each)
        for path, each in trial_requests.statements(policy)
        if each.get("Effect") != "Deny" or each.get("Sid") == SID
    ]
    name = use.role_arn.rsplit("/", 1)[-1].lower()

    def rank(found: tuple[Path, dict[str, Any]]) -> int:
        names = trial_requests.principals(found[1])
        if use.role_arn in names:
            return 0
        if found[1].get("Sid") == SID:
            return 1
        if any(each.rsplit("/", 1)[-1].lower() == name or placeholders.is_in(each) for each in names):
            return 2
        return 9

    near = sorted((found for found in allows if rank(found) < 9), key=rank)
    best = [found for found in near if rank(found) == rank(near[0])][:10]
    if len(best) > 1 and use.refused:
        return min(best, key=lambda found: len(trial_requests.failing("key", use.policy, found[1], use.refused[0][1])))
    return best[0] if best else None


def _resources(policy: Policy, use: grants.Use) -> Iterator[Note]:
    """Name a Resource other than `*` in a statement for us, where it works all the same."""
    for path, statement in trial_requests.statements(policy):
        if (
            use.role_arn in trial_requests.principals(statement)
            and "Resource" in statement
            and statement["Resource"] not in ("*", ["*"])
            and not use.refused
        ):
            yield Note(
                "key_resource",
                "warning",
                (*path, "Resource"),
                _("In a key policy the Resource is this key itself; KMS writes that as *."),
                _('Write "Resource": "*".'),
            )


# --- corrected ---------------------------------------------------------------------------------------------------


def root_statement(values: Values) -> dict[str, Any]:
    """Return the statement that KMS's console gives every key: the account's own IAM policies may decide."""
    account = key_policy_width.own_account(values, key_policy_width.NO_ACCOUNT)
    given = values.access.key or values.access.role
    partition = given.partition if given else "aws"
    return {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }


def wanted(values: Values, policy: Policy | None = None) -> Policy:
    """Return the default key policy of AWS with our statement."""
    role = values.access.role or (_named_role(effective(policy), values) if policy else None)
    statement = documents.key_policy_statement(str(role or NO_ROLE), values.beside.roles, values.access.actions)
    return {
        "Version": policy_grammar.VERSION,
        "Statement": [root_statement(_with_role(values, role)), statement],
    }


def _with_role(values: Values, role: RoleArn | None) -> Values:
    return replace(values, access=replace(values.access, role=role))


def corrected(policy: Policy, values: Values) -> Policy:
    """Return their key policy with our statement in its place; nothing of theirs is lost."""
    in_force = effective(policy)
    role = values.access.role or _named_role(in_force, values)
    roles = (str(role), *values.beside.roles) if role else ()
    guide = documents.key_policy_statement(str(role or NO_ROLE), values.beside.roles, values.access.actions)
    known = _with_role(values, role)
    uses = [_use(in_force, values, each) for each in roles]
    meant = _meant(policy, uses[0]) if uses else None
    denies = {path for use in uses for path, _, _ in trial_requests.denying("key", in_force, use.denied)}
    strangers = {note.path[:-1] for note in key_policy_width.open_to_strangers(in_force, values)}
    has_grant = bool(uses) and not any(use.refused for use in uses)
    kept: list[Any] = []
    placed = has_grant
    for path, statement in trial_requests.statements(policy):
        if path in denies and role:
            kept.append(rebuilding.sparing(statement, *roles))
        elif meant is not None and path == meant[0] and (not has_grant or _is_for_us_alone(statement, roles)):
            rest = _for_others(statement, str(role), known)
            kept += [rest] if rest else []
            kept.append(_with_sid(guide, statement) if not rest else guide)
            placed = True
        elif path in strangers:
            kept.append(_for_the_account(statement, known))
        elif statement.get("Effect") in ("Allow", "Deny") and (
            "Resource" not in statement and "NotResource" not in statement
        ):
            kept.append({**statement, "Resource": "*"})
        else:
            kept.append(statement)
    version = (
        policy_grammar.VERSION if policy.get("Version") != policy_grammar.OLD_VERSION else policy_grammar.OLD_VERSION
    )
    built = rebuilding.rebuilt(policy, kept, version=version)
    # what let us in may have been open to all
    if not placed or role is None or any(_use(effective(built), values, each).refused for each in roles):
        built = rebuilding.rebuilt(policy, [*kept, guide], version=version)
    if not key_policy_width.has_administrator(effective(built), known):
        spared = [
            rebuilding.sparing(each, root_statement(known)["Principal"]["AWS"])
            if each.get("Effect") == "Deny"
            else each
            for each in built["Statement"]
        ]
        built = rebuilding.rebuilt(built, [root_statement(known), *spared], version=version)
    return built


def _is_for_us_alone(statement: dict[str, Any], roles: tuple[str, ...]) -> bool:
    named = set(trial_requests.principals(statement))
    return bool(named) and named <= set(roles)


def _with_sid(guide: dict[str, Any], statement: dict[str, Any]) -> dict[str, Any]:
    sid = statement.get("Sid")
    return {**guide, "Sid": sid} if isinstance(sid, str) and sid and len(sid) <= 120 else guide


def _for_others(statement: dict[str, Any], role_arn: str, values: Values) -> dict[str, Any] | None:
    """Return a statement for whom it names beside the role; a near miss of the role itself is no other."""
    principal = statement.get("Principal")
    if not isinstance(principal, dict) or role_arn not in trial_requests.principals(statement):
        return None
    rest: dict[str, Any] = {}
    for kind in principal:
        names = [
            name
            for name in trial_requests.principals(statement, kind)
            if name not in {role_arn, *values.beside.roles, str(values.access.service_role), "*"}
            and not placeholders.is_in(name)
        ]
        if names:
            rest[kind] = names if len(names) > 1 else names[0]
    return {key: (rest if key == "Principal" else value) for key, value in statement.items()} if rest else None


def _for_the_account(statement: dict[str, Any], values: Values) -> dict[str, Any]:
    """Return a statement that was open to everybody for the key's own account."""
    root = root_statement(values)["Principal"]
    named = {
        "Principal" if key == "NotPrincipal" else key: (root if key in {"Principal", "NotPrincipal"} else value)
        for key, value in statement.items()
    }
    return named if "Principal" in named else {**named, "Principal": root}
