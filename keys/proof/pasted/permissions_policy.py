"""The permissions policy of the tenant's role: the guide's five patterns on its key, and little more; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from byokportal.translation import translate as _
from keys.arns import KeyArn
from keys.errors import ArnRefused
from keys.policies import documents, evaluator
from keys.policies.evaluator import Request
from keys.proof.pasted import grants, rebuilding, trial_requests, witnesses
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NO_KEY = "<your-cmk-arn>"
# What the role must never be able to do: with one of these we would run the customer's account.
ADMINISTRATION = (
    "iam:PutRolePolicy",
    "iam:CreateUser",
    "sts:AssumeRole",
    "organizations:LeaveOrganization",
    "s3:GetObject",
    "ec2:RunInstances",
    "secretsmanager:GetSecretValue",
)
MOST_STATEMENTS = 20  # statements and actions of one that are looked at for what is not KMS's
MORE = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant")


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what is missing, what is too wide and what is odd."""
    use = use_of(policy, values)
    if use is None:
        yield Note(
            "arn_missing",
            "error",
            (),
            _("You have not given your CMK ARN yet, so we cannot tell whether this names your key."),
            _("Give the CMK ARN in step 1, then paste this again."),
        )
        return
    if values.access.key is None:
        yield Note(
            "arn_missing",
            "info",
            (),
            _("You have not given your CMK ARN yet. We read this for the key that it names, %(key)s.", key=use.key),
            _("Give the CMK ARN in step 1."),
        )
    yield from grants.missing(use, _meant(use), values)
    yield from _left_out(use, values)
    yield from _wide(use, values)
    yield from grants.limits(use)


def _left_out(use: grants.Use, values: Values) -> Iterator[Note]:
    """Yield the keys that one replaces and that the policy forgets: pasted like this it takes them away at once."""
    ours = use.requests[0][1]
    meant = _meant(use)
    for key_arn in values.beside.keys:
        request = Request("kms:Decrypt", key_arn, ours.principal, ours.context, evaluator.account_of(key_arn))
        if not list(trial_requests.allowing("permissions", use.policy, request)):
            yield Note(
                "replaced_key_missing",
                "error",
                (*meant[0], "Resource") if meant else (),
                _(
                    "%(key_arn)s is left out. It is still needed: with this policy we lose it at once, and what "
                    "it protects does not open.",
                    key_arn=shown(key_arn, most=120),
                ),
                _("Name both keys in Resource until the move to the new key is over and no backup needs the old one."),
            )


def use_of(policy: Policy, values: Values) -> grants.Use | None:
    """Ask for the guide's actions on the tenant's key, or on the one that the policy names;
    None when there is neither."""
    key = values.access.key or _named_key(policy, values)
    if key is None:
        return None
    role = values.access.role or f"arn:aws:iam::{key.account}:role/yours"
    return grants.of("permissions", policy, values, key=key, role_arn=str(role))


def _named_key(policy: Policy, values: Values) -> KeyArn | None:
    """Return the one key that the policy names, where the tenant has given none; None when there is none or several."""
    named = set[KeyArn]()
    for _path, statement in trial_requests.statements(policy):
        for name in evaluator.listed(statement.get("Resource")):
            if ":kms:" not in name:
                continue
            try:
                named.add(KeyArn.parse(name, rules=values.rules))
            except ArnRefused:
                continue
    return named.pop() if len(named) == 1 else None


def _meant(use: grants.Use) -> tuple[Path, dict[str, Any]] | None:
    """Return the statement that was meant for the key: the guide's Sid, or the one that comes nearest."""
    near = [
        (path, each)
        for path, each in trial_requests.statements(use.policy)
        if each.get("Sid") == "AllowKMSActions"
        or (each.get("Effect") != "Deny" and grants.touches_kms(each))
        or "NotAction" in each
    ][:20]
    if not near or not use.refused:
        return near[0] if near else None
    return min(
        near,
        key=lambda found: sum(
            len(trial_requests.failing(use.kind, use.policy, found[1], request)) for _, request in use.refused
        ),
    )


def _wide(use: grants.Use, values: Values) -> Iterator[Note]:
    ours = use.requests[0][1]
    elsewhere = f"arn:{use.key.partition}:iam::{ours.principal.account}:role/anything"
    for path, statement, request in _let_through(
        use, [replace(ours, action=each, resource=elsewhere) for each in ADMINISTRATION]
    ):
        element = "NotAction" if "NotAction" in statement else "Action"
        yield Note(
            "too_wide_permissions",
            "error",
            (*path, element),
            _(
                "This lets us do %(action)s in your account, and much more that has nothing to do with your "
                "key: %(described)s.",
                action=request.action,
                described=witnesses.described(request),
            ),
            _("Write the actions of the document below, and no other."),
        )
        return
    for path, statement, request in _let_through(use, [replace(ours, action=each) for each in MORE]):
        yield _wider(
            path,
            statement,
            _("The role may do %(action)s with your key, which we never need.", action=request.action),
            "Action",
        )
        break
    for path, statement, request in _let_through(use, grants.left_out(use, values)):
        text = _(
            "The role may do %(action)s with your key, which your narrower documents leave out.", action=request.action
        )
        yield _wider(path, statement, text, "Action")
        break
    yield from _elsewhere(use, ours)
    if use.refused:
        return
    other = replace(use.key, key_id=trial_requests.NO_KEY_ID)
    for path, statement, _request in _let_through(use, [replace(ours, action="kms:Decrypt", resource=str(other))]):
        yield _wider(path, statement, _("The role may use your other keys too."), "Resource")
        return
    for path, statement in trial_requests.statements(use.policy):
        value = statement.get("Resource")
        for at, name in enumerate(evaluator.listed(value)):
            if (
                statement.get("Effect") == "Allow"
                and ":key/" in name
                and "${" not in name
                and name not in {str(use.key), *values.beside.keys}
                and next(_let_through(use, _uses_of(use, witnesses.resource_of(name))), None) is not None
            ):
                where = (*path, "Resource", at) if isinstance(value, list) else (*path, "Resource")
                yield Note(
                    "wider_than_needed",
                    "warning",
                    where,
                    _("%(name)s is another key than the one you give us.", name=shown(name, most=120)),
                    _("Take it out, unless it has to be there."),
                )


def _let_through(use: grants.Use, requests: Iterable[Request]) -> Iterator[tuple[Path, dict[str, Any], Request]]:
    """Yield the calls that the whole policy lets through, each with the statement that does."""
    for request in requests:
        if trial_requests.is_refused(trial_requests.decide("permissions", use.policy, replace(request, favoured=True))):
            continue
        for path, statement in trial_requests.statements(use.policy):
            made = witnesses.fitting(use.policy, statement, request, ours=True)
            if statement.get("Effect") == "Allow" and trial_requests.lets(
                use.policy, statement, made, kind="permissions"
            ):
                yield path, statement, made
                break


def _uses_of(use: grants.Use, resource: str) -> list[Request]:
    return [replace(request, resource=resource) for _, request in use.requests]


def _elsewhere(use: grants.Use, ours: Request) -> Iterator[Note]:
    """Yield the first statement that lets us do something outside of KMS, whatever it is."""
    for path, statement in trial_requests.statements(use.policy)[:MOST_STATEMENTS]:
        if statement.get("Effect") != "Allow" or "Action" not in statement:
            continue
        for action in evaluator.listed(statement["Action"])[:MOST_STATEMENTS]:
            service = action.partition(":")[0].lower()
            if service in {"kms", "*"} or ":" not in action or "*" in service or "?" in service:
                continue
            resources = evaluator.listed(statement.get("Resource"))[:3] or ["*"]
            calls = [
                replace(ours, action=witnesses.resource_of(action), resource=witnesses.resource_of(each))
                for each in resources
            ]
            if next(_let_through(use, calls), None) is not None:
                text = _(
                    "The role may do %(action)s too, which has nothing to do with your key.",
                    action=shown(action, most=60),
                )
                yield _wider(path, statement, text, "Action")
                return


def _wider(path: Path, statement: dict[str, Any], text: str, element: str) -> Note:
    element = f"Not{element}" if f"Not{element}" in statement else element
    return Note(
        "wider_than_needed",
        "warning",
        (*path, element),
        text,
        _("Write the actions and the Resource of the document below."),
    )


def wanted(values: Values, policy: Policy | None = None) -> Policy:
    """Return the guide's document, for the key that the policy names while the tenant has given none."""
    key = values.access.key or (_named_key(policy, values) if policy else None)
    return documents.permissions_policy(str(key or NO_KEY), values.beside.keys, values.access.actions)


def corrected(policy: Policy, values: Values) -> Policy:
    """Return their policy with our statement as the guide has it; a Deny that hits us spares the key, or the role."""
    (guide,) = wanted(values, policy)["Statement"]
    use = use_of(policy, values)
    if use is None:
        return wanted(values)
    meant = _meant(use)
    denies = {path for path, _, _ in trial_requests.denying("permissions", policy, use.denied)}
    wide = {note.path[:2] for note in _wide(use, values) if len(note.path) > 1}
    kept: list[Any] = []
    placed = False
    for path, statement in trial_requests.statements(policy):
        is_meant = meant is not None and path == meant[0]
        if path in denies and not is_meant:
            kept.append(_sparing(statement, use, values))
        elif is_meant or (path in wide and statement.get("Effect") == "Allow"):
            if not placed:
                kept.append(rebuilding.with_sid(guide, statement))
                placed = True
        else:
            kept.append(statement)
    return rebuilding.rebuilt(policy, kept if placed else [*kept, guide])


def _sparing(statement: dict[str, Any], use: grants.Use, values: Values) -> dict[str, Any]:
    """Return a Deny that no longer hits our calls: it leaves the key out, where it is about every resource; else it
    leaves the role out, which may be one of several that the policy is attached to."""
    if statement.get("Resource") in ("*", ["*"]):
        keys = [str(use.key), *values.beside.keys]
        return {
            "NotResource" if name == "Resource" else name: (keys if len(keys) > 1 else keys[0])
            if name == "Resource"
            else value
            for name, value in statement.items()
        }
    return rebuilding.sparing(statement, use.role_arn)
