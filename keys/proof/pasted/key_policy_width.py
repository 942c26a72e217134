"""Who else a key policy lets in, and whether anybody can change it again; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keys.arns import KeyArn
from keys.policies import conditions, evaluator
from keys.policies.evaluator import Principal, Request
from keys.proof.pasted import grants, trial_requests
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NO_ACCOUNT = "<your-account-id>"
MORE = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant")
STRANGERS_DO = ("kms:Decrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:PutKeyPolicy")


def open_to_strangers(in_force: Policy, values: Values) -> Iterator[Note]:
    """Ask for accounts that nobody named, directly and through each AWS service that the policy names."""
    denies = [each for _, each in trial_requests.statements(in_force) if each.get("Effect") == "Deny"]
    services = ("", *_named_services(in_force)[:2])
    calls = {
        action: [
            (service, _call_of(stranger, service, action, values))
            for stranger in (trial_requests.STRANGER, trial_requests.STRANGER_ROLE)
            for service in services
        ]
        for action in STRANGERS_DO
    }
    for path, statement in trial_requests.statements(in_force):
        if statement.get("Effect") != "Allow" or not (
            "NotPrincipal" in statement or "*" in trial_requests.principals(statement)
        ):
            continue
        with_denies = {**in_force, "Statement": [*denies, statement]}
        spoken_of = next((action for action in STRANGERS_DO if _covers(statement, action)), "")
        for service, request in calls.get(spoken_of, ()):
            if trial_requests.decide("key", with_denies, request).allowed:
                yield _open(path, statement, request.action, service, values)
                break


def _call_of(stranger: Principal, service: str, action: str, values: Values) -> Request:
    request = trial_requests.use(action, own_key(values), stranger, values)
    through = {"kms:ViaService": service, "aws:ViaAWSService": "true"} if service else {}
    return trial_requests.carrying(request, through)


def _covers(statement: dict[str, Any], action: str) -> bool:
    """Tell whether a statement speaks of an action; it spares asking about the rest."""
    name = "NotAction" if "NotAction" in statement else "Action"
    found = any(
        conditions.glob(each, ignore_case=True).fullmatch(action) for each in evaluator.listed(statement.get(name))
    )
    return found != (name == "NotAction")


def _named_services(policy: Policy) -> list[str]:
    found: list[str] = []
    for _, statement in trial_requests.statements(policy):
        condition = statement.get("Condition")
        for keys in condition.values() if isinstance(condition, dict) else ():
            for key, wanted in keys.items() if isinstance(keys, dict) else ():
                if str(key).lower() == "kms:viaservice":
                    found += [each.replace("*", "us-east-1") for each in evaluator.listed(wanted)]
    return list(dict.fromkeys(found))


def _open(path: Path, statement: dict[str, Any], action: str, service: str, values: Values) -> Note:
    through = f" through {shown(service)}" if service else ""
    fix = (
        f'Name who may: "Principal": {{"AWS": "arn:aws:iam::{own_account(values, NO_ACCOUNT)}:root"}} for your '
        "own account."
    )
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


def own_account(values: Values, otherwise: str) -> str:
    """Return the account of the key, or of the role where no key is given."""
    given = values.access.key or values.access.role
    return given.account if given else otherwise


def lock_out(policy: Policy, values: Values) -> Iterator[Note]:
    """Say when nobody could change the policy again."""
    if not has_administrator(policy, values):
        yield Note(
            "lock_out",
            "error",
            ("Statement",),
            (
                "With this policy nobody can change the key policy again: "
                "KMS refuses to save it, and once saved only AWS Support could help."
            ),
            (
                f'Keep the statement that lets your account decide: "Principal": {{"AWS": '
                f'"arn:aws:iam::{own_account(values, NO_ACCOUNT)}:root"}}, "Action": "kms:*".'
            ),
        )


def has_administrator(policy: Policy, values: Values) -> bool:
    """Tell whether somebody other than our role may put a key policy; conditions are taken to be met for the better."""
    open_allows = [
        {name: value for name, value in each.items() if name != "Condition"} if each.get("Effect") == "Allow" else each
        for _, each in trial_requests.statements(policy)
        if each.get("Effect") == "Allow" or not each.get("Condition")
    ]
    loose = {"Version": policy.get("Version"), "Statement": open_allows}
    names = dict.fromkeys(
        name
        for each in open_allows
        if each.get("Effect") == "Allow"
        for name in (trial_requests.principals(each) or ["*"])
    )
    ours = {str(role) for role in (values.access.role, values.access.service_role, *values.beside.roles) if role}
    for name in list(names)[:20]:
        who = _who(name, values)
        if who is None or name in ours:
            continue
        request = Request(
            "kms:PutKeyPolicy",
            str(own_key(values)),
            who,
            trial_requests.use("kms:PutKeyPolicy", own_key(values), who, values).context,
            who.account,
        )
        if evaluator.evaluate(request, identity=[trial_requests.EVERYTHING], resource=loose).allowed:
            return True
    return False


def _who(name: str, values: Values) -> Principal | None:
    account = evaluator.account_of(name) or (name if name.isdigit() and len(name) == 12 else "")
    if name == "*":
        account = own_account(values, trial_requests.NOWHERE)
    if not account:
        return None
    if ":role/" in name:
        return trial_requests.tenant_role(name)
    return Principal(name if name.startswith("arn:") else f"arn:aws:iam::{account}:root", account)


def wider(use: grants.Use) -> Iterator[Note]:
    """Name what the role may do with the key and we never need."""
    for path, statement in trial_requests.statements(use.policy):
        if statement.get("Effect") != "Allow" or use.role_arn not in trial_requests.principals(statement):
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


def own_key(values: Values, role_arn: str = "") -> KeyArn:
    """Return the tenant's key, or one of the role's account that stands for it while none is given."""
    if values.access.key is not None:
        return values.access.key
    role = values.access.role
    account = role.account if role else evaluator.account_of(role_arn) or trial_requests.NOWHERE
    return KeyArn("aws", "us-east-1", account, trial_requests.NO_KEY_ID)
