"""The key policy: the tenant's role named with the guide's actions, nobody from elsewhere, and somebody who can change it again; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from keys.arns import RoleArn
from keys.errors import ArnRefused
from keys.policies import conditions, documents, evaluator
from keys.policies.evaluator import Principal, Request
from keys.policies.linter import grammar, grants, mending, probes, refusals
from keys.policies.linter.findings import Note, Path, Policy, Values, shown

NO_ROLE, NO_ACCOUNT = "<your-role-arn>", "<your-account-id>"
SID = "AllowYourAppAccess"
MORE = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant")
STRANGERS_DO = ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:PutKeyPolicy")


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what is missing, what is too wide, and what would lock the customer out."""
    in_force = effective(policy)
    role_arn = values.role_arn or _named_role(in_force, values)
    yield from _open_to_strangers(in_force, values)
    yield from _lock_out(in_force, values)
    if not role_arn:
        yield Note(
            "arn_missing",
            "error",
            (),
            "You have not given your Role ARN yet, so we cannot tell whether this names your role.",
            "Give the Role ARN in step 2, then paste this again.",
        )
        return
    if not values.role_arn:
        yield Note(
            "arn_missing",
            "info",
            (),
            f"You have not given your Role ARN yet. We read this for the role that it names, {shown(role_arn)}.",
            "Give the Role ARN in step 2.",
        )
    use = _use(in_force, values, role_arn)
    yield from grants.missing(use, _meant(policy, use), values)
    yield from _wider(use)
    yield from _resources(policy, use)
    yield from grants.unseen(policy)


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
    """Ask for the guide's actions for the tenant's role, or for the one that the policy names; None when there is neither."""
    in_force = effective(policy)
    role_arn = values.role_arn or _named_role(in_force, values)
    return _use(in_force, values, role_arn) if role_arn else None


def _use(policy: Policy, values: Values, role_arn: str) -> grants.Use:
    return grants.of("key", policy, values, key_arn=_key(values, role_arn), role_arn=role_arn)


def _key(values: Values, role_arn: str = "") -> str:
    account = evaluator.account_of(values.role_arn or role_arn) or probes.NOWHERE
    return values.key_arn or f"arn:aws:kms:us-east-1:{account}:key/00000000-0000-0000-0000-000000000000"


def _named_role(policy: Policy, values: Values) -> str:
    """Return the role that gets all of the guide's actions, where the tenant has given none."""
    tried = 0
    for _, statement in probes.statements(policy):
        for name in probes.principals(statement):
            if ":role/" not in name or name == values.service_role_arn or tried >= 10:
                continue
            tried += 1
            try:
                role = str(RoleArn.parse(name, our_account=evaluator.account_of(values.service_role_arn)))
            except ArnRefused:
                continue
            if not _use(policy, values, role).refused:
                return role
    return ""


def _meant(policy: Policy, use: grants.Use) -> tuple[Path, dict[str, Any]] | None:
    """Return the statement that was meant for the role: the one that names it, the guide's Sid, or one that nearly names it."""
    allows = [
        (path, each)
        for path, each in probes.statements(policy)
        if each.get("Effect") != "Deny" or each.get("Sid") == SID
    ]
    name = use.role_arn.rsplit("/", 1)[-1].lower()

    def rank(found: tuple[Path, dict[str, Any]]) -> int:
        names = probes.principals(found[1])
        if use.role_arn in names:
            return 0
        if found[1].get("Sid") == SID:
            return 1
        if any(each.rsplit("/", 1)[-1].lower() == name or refusals.is_placeholder(each) for each in names):
            return 2
        return 9

    near = sorted((found for found in allows if rank(found) < 9), key=rank)
    best = [found for found in near if rank(found) == rank(near[0])][:10]
    if len(best) > 1 and use.refused:
        return min(best, key=lambda found: len(probes.failing("key", use.policy, found[1], use.refused[0][1])))
    return best[0] if best else None


# --- too wide, locked out -----------------------------------------------------------------------------------


def _open_to_strangers(in_force: Policy, values: Values) -> Iterator[Note]:
    """Ask for accounts that nobody named, directly and through each AWS service that the policy names."""
    denies = [each for _, each in probes.statements(in_force) if each.get("Effect") == "Deny"]
    services = ("", *_named_services(in_force)[:2])
    calls = {
        action: [
            (service, _call_of(stranger, service, action, values))
            for stranger in (probes.STRANGER, probes.STRANGER_ROLE)
            for service in services
        ]
        for action in STRANGERS_DO
    }
    for path, statement in probes.statements(in_force):
        if statement.get("Effect") != "Allow" or not (
            "NotPrincipal" in statement or "*" in probes.principals(statement)
        ):
            continue
        with_denies = {**in_force, "Statement": [*denies, statement]}
        spoken_of = next((action for action in STRANGERS_DO if _covers(statement, action)), "")
        for service, request in calls.get(spoken_of, ()):
            if probes.decide("key", with_denies, request).allowed:
                yield _open(path, statement, request.action, service, values)
                break


def _call_of(stranger: Principal, service: str, action: str, values: Values) -> Request:
    request = probes.use(action, _key(values), stranger, values)
    through = {"kms:ViaService": service, "aws:ViaAWSService": "true"} if service else {}
    return replace(request, context={**request.context, **through})


def _covers(statement: dict[str, Any], action: str) -> bool:
    """Tell whether a statement speaks of an action; it spares asking about the rest."""
    name = "NotAction" if "NotAction" in statement else "Action"
    found = any(
        conditions.glob(each, ignore_case=True).fullmatch(action) for each in evaluator.listed(statement.get(name))
    )
    return found != (name == "NotAction")


def _named_services(policy: Policy) -> list[str]:
    found: list[str] = []
    for _, statement in probes.statements(policy):
        condition = statement.get("Condition")
        for keys in condition.values() if isinstance(condition, dict) else ():
            for key, wanted in keys.items() if isinstance(keys, dict) else ():
                if str(key).lower() == "kms:viaservice":
                    found += [each.replace("*", "us-east-1") for each in evaluator.listed(wanted)]
    return list(dict.fromkeys(found))


def _open(path: Path, statement: dict[str, Any], action: str, service: str, values: Values) -> Note:
    through = f" through {shown(service)}" if service else ""
    fix = f'Name who may: "Principal": {{"AWS": "arn:aws:iam::{_account(values, NO_ACCOUNT)}:root"}} for your own account.'
    if "NotPrincipal" in statement:
        return Note(
            "too_wide_not_principal",
            "error",
            (*path, "NotPrincipal"),
            f"NotPrincipal with Allow means everybody but those named: any AWS account may do {action} with your key.",
            fix,
        )
    return Note(
        "too_wide_principal",
        "error",
        (*path, "Principal"),
        f"Any AWS account may do {action} with your key{through}.",
        fix,
    )


def _account(values: Values, otherwise: str) -> str:
    return evaluator.account_of(values.key_arn or values.role_arn) or otherwise


def _lock_out(policy: Policy, values: Values) -> Iterator[Note]:
    if not _has_administrator(policy, values):
        yield Note(
            "lock_out", "error", ("Statement",),
            "With this policy nobody can change the key policy again: KMS refuses to save it, and once saved only AWS Support could help.",
            f'Keep the statement that lets your account decide: "Principal": {{"AWS": "arn:aws:iam::{_account(values, NO_ACCOUNT)}:root"}}, "Action": "kms:*".',
        )  # fmt: skip


def _has_administrator(policy: Policy, values: Values) -> bool:
    """Tell whether somebody other than our role may put a key policy; conditions are taken to be met for the better."""
    open_allows = [
        {name: value for name, value in each.items() if name != "Condition"} if each.get("Effect") == "Allow" else each
        for _, each in probes.statements(policy)
        if each.get("Effect") == "Allow" or not each.get("Condition")
    ]
    loose = {"Version": policy.get("Version"), "Statement": open_allows}
    names = dict.fromkeys(
        name for each in open_allows if each.get("Effect") == "Allow" for name in (probes.principals(each) or ["*"])
    )
    for name in list(names)[:20]:
        who = _who(name, values)
        if who is None or name in {values.role_arn, values.service_role_arn}:
            continue
        request = Request(
            "kms:PutKeyPolicy",
            _key(values),
            who,
            {**probes.use("kms:PutKeyPolicy", _key(values), who, values).context},
            who.account,
        )
        if evaluator.evaluate(request, identity=[probes.EVERYTHING], resource=loose).allowed:
            return True
    return False


def _who(name: str, values: Values) -> Principal | None:
    account = evaluator.account_of(name) or (name if name.isdigit() and len(name) == 12 else "")
    if name == "*":
        account = _account(values, probes.NOWHERE)
    if not account:
        return None
    if ":role/" in name:
        return probes.tenant_role(name)
    return Principal(name if name.startswith("arn:") else f"arn:aws:iam::{account}:root", account)


def _wider(use: grants.Use) -> Iterator[Note]:
    for path, statement in probes.statements(use.policy):
        if statement.get("Effect") != "Allow" or use.role_arn not in probes.principals(statement):
            continue
        for action in MORE:
            if _covers(statement, action):
                element = "NotAction" if "NotAction" in statement else "Action"
                yield Note(
                    "wider_than_needed",
                    "warning",
                    (*path, element),
                    f"Your role may do {action} with the key, which we never need.",
                    "Write the five actions of the document below.",
                )
                return


def _resources(policy: Policy, use: grants.Use) -> Iterator[Note]:
    """Name a Resource other than `*` in a statement for us, where it works all the same."""
    for path, statement in probes.statements(policy):
        if (
            use.role_arn in probes.principals(statement)
            and "Resource" in statement
            and statement["Resource"] not in ("*", ["*"])
            and not use.refused
        ):
            yield Note(
                "key_resource",
                "warning",
                (*path, "Resource"),
                "In a key policy the Resource is this key itself; KMS writes that as *.",
                'Write "Resource": "*".',
            )


# --- mended ---------------------------------------------------------------------------------------------------


def root_statement(values: Values) -> dict[str, Any]:
    """Return the statement that KMS's console gives every key: the account's own IAM policies may decide."""
    account = _account(values, NO_ACCOUNT)
    partition = (values.key_arn or values.role_arn or "arn:aws").split(":")[1]
    return {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }


def wanted(values: Values, policy: Policy | None = None) -> Policy:
    """Return the default key policy of AWS with our statement."""
    role_arn = values.role_arn or (_named_role(effective(policy), values) if policy else "") or NO_ROLE
    known = replace(values, role_arn=role_arn) if role_arn != NO_ROLE else values
    return {"Version": grammar.VERSION, "Statement": [root_statement(known), documents.key_policy_statement(role_arn)]}


def mended(policy: Policy, values: Values) -> Policy:
    """Return their key policy with our statement in its place; nothing of theirs is lost."""
    in_force = effective(policy)
    role_arn = values.role_arn or _named_role(in_force, values)
    guide = documents.key_policy_statement(role_arn or NO_ROLE)
    known = replace(values, role_arn=role_arn)
    use = _use(in_force, values, role_arn) if role_arn else None
    meant = _meant(policy, use) if use else None
    denies = {path for path, _, _ in probes.denying("key", in_force, use.denied)} if use else set()
    strangers = {note.path[:-1] for note in _open_to_strangers(in_force, values)}
    has_grant = use is not None and not use.refused
    kept: list[Any] = []
    placed = has_grant
    for path, statement in probes.statements(policy):
        if path in denies and role_arn:
            kept.append(mending.sparing(statement, role_arn))
        elif meant is not None and path == meant[0] and (not has_grant or _is_for_us_alone(statement, role_arn)):
            rest = _for_others(statement, role_arn, known)
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
    version = grammar.VERSION if policy.get("Version") != grammar.OLD_VERSION else grammar.OLD_VERSION
    built = mending.rebuilt(policy, kept, version=version)
    if (
        not placed or not role_arn or _use(effective(built), values, role_arn).refused
    ):  # what let us in may have been open to all
        built = mending.rebuilt(policy, [*kept, guide], version=version)
    if not _has_administrator(effective(built), known):
        spared = [
            mending.sparing(each, root_statement(known)["Principal"]["AWS"]) if each.get("Effect") == "Deny" else each
            for each in built["Statement"]
        ]
        built = mending.rebuilt(built, [root_statement(known), *spared], version=version)
    return built


def _is_for_us_alone(statement: dict[str, Any], role_arn: str) -> bool:
    return probes.principals(statement) == [role_arn]


def _with_sid(guide: dict[str, Any], statement: dict[str, Any]) -> dict[str, Any]:
    sid = statement.get("Sid")
    return {**guide, "Sid": sid} if isinstance(sid, str) and sid and len(sid) <= 120 else guide


def _for_others(statement: dict[str, Any], role_arn: str, values: Values) -> dict[str, Any] | None:
    """Return a statement for whom it names beside the role; a near miss of the role itself is no other."""
    principal = statement.get("Principal")
    if not isinstance(principal, dict) or role_arn not in probes.principals(statement):
        return None
    rest: dict[str, Any] = {}
    for kind in principal:
        names = [
            name
            for name in probes.principals(statement, kind)
            if name not in {role_arn, values.service_role_arn, "*"} and not refusals.is_placeholder(name)
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
