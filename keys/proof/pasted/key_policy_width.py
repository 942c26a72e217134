"""Who else a key policy lets in, and whether anybody can change it again; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.arns import KeyArn
from keys.policies import conditions, evaluator
from keys.policies.evaluator import Principal, Request
from keys.proof.pasted import grants, trial_requests, witnesses
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

NO_ACCOUNT = "<your-account-id>"
MORE = ("kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:CreateGrant")
STRANGERS_DO = (
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:CreateGrant",
    "kms:PutKeyPolicy",
    "kms:Encrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ScheduleKeyDeletion",
    "kms:DisableKey",
)
ELSEWHERE = "198.51.100.10"  # belongs to nobody (RFC 5737)
MOST_ASKED = 300  # calls of strangers that one policy is asked about


def open_to_strangers(in_force: Policy, values: Values) -> Iterator[Note]:
    """Ask for accounts that nobody named, with whatever they may set themselves, through an AWS service too."""
    strangers = witnesses.strangers(in_force)
    denies = [each for _, each in trial_requests.statements(in_force) if each.get("Effect") == "Deny"]
    only_denies = {**in_force, "Statement": denies}
    asked = 0
    for path, statement in trial_requests.statements(in_force):
        if statement.get("Effect") != "Allow" or not (
            "NotPrincipal" in statement or "*" in trial_requests.principals(statement)
        ):
            continue
        for action in STRANGERS_DO:
            if not _covers(statement, action):
                continue
            found = None
            for stranger in strangers:
                asked += 1
                request = trial_requests.use(action, own_key(values), stranger, _from_elsewhere(values))
                request = witnesses.fitting(only_denies, statement, request)
                if trial_requests.lets(only_denies, statement, request):
                    found = request
                    break
            if found is not None:
                yield _open(path, statement, found, values)
                break
            if asked > MOST_ASKED:
                return


def _from_elsewhere(values: Values) -> Values:
    """Return the values with an address that is not ours: strangers do not come from it."""
    return replace(values, address=ELSEWHERE)


def _covers(statement: dict[str, Any], action: str) -> bool:
    """Tell whether a statement speaks of an action; it spares asking about the rest."""
    name = "NotAction" if "NotAction" in statement else "Action"
    found = any(
        conditions.glob(each, ignore_case=True).fullmatch(action) for each in evaluator.listed(statement.get(name))
    )
    return found != (name == "NotAction")


def _open(path: Path, statement: dict[str, Any], request: Request, values: Values) -> Note:
    service = conditions.lookup(request.context, "kms:ViaService")
    through = _(" through %(service)s", service=shown(service[0])) if service else ""
    fix = _(
        'Name who may: "Principal": {"AWS": "arn:aws:iam::%(own_account)s:root"} for your own account.',
        own_account=own_account(values, NO_ACCOUNT),
    )
    so = _(
        "%(described)s%(through)s, a stranger with an account of their own.",
        described=witnesses.described(request),
        through=through,
    )
    if "NotPrincipal" in statement:
        return Note(
            "too_wide_not_principal",
            "error",
            (*path, "NotPrincipal"),
            _("NotPrincipal with Allow means everybody but those named. %(so)s", so=so),
            fix,
        )
    return Note(
        "too_wide_principal",
        "error",
        (*path, "Principal"),
        _(
            "Any AWS account may do %(action)s with your key%(through)s. %(so)s",
            action=request.action,
            through=through,
            so=so,
        ),
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
            _(
                "With this policy nobody can change the key policy again: KMS refuses to save it, and once "
                "saved only AWS Support could help."
            ),
            _(
                'Keep the statement that lets your account decide: "Principal": {"AWS": '
                '"arn:aws:iam::%(own_account)s:root"}, "Action": "kms:*".',
                own_account=own_account(values, NO_ACCOUNT),
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


def wider(use: grants.Use, values: Values) -> Iterator[Note]:
    """Name what the role may do with the key and we never need, or the tenant's narrower documents leave out."""
    bare = next(request for _, request in use.requests if request.action == "kms:DescribeKey")
    never = (replace(bare, action=action) for action in MORE)  # they carry no encryption context either
    yield from _wider(use, never, lazy("which we never need"))
    yield from _wider(use, grants.left_out(use, values), lazy("which your narrower documents leave out"))


def _wider(use: grants.Use, requests: Iterable[Request], why: str) -> Iterator[Note]:
    for request in requests:
        if not trial_requests.decide("key", use.policy, request).allowed:
            continue
        for path, statement in trial_requests.allowing("key", use.policy, request):
            if use.role_arn not in trial_requests.principals(statement):
                continue
            element = "NotAction" if "NotAction" in statement else "Action"
            yield Note(
                "wider_than_needed",
                "warning",
                (*path, element),
                _("Your role may do %(action)s with the key, %(why)s.", action=request.action, why=_(why)),
                _("Write the actions of the document below."),
            )
            return


def own_key(values: Values, role_arn: str = "") -> KeyArn:
    """Return the tenant's key, or one of the role's account that stands for it while none is given."""
    if values.access.key is not None:
        return values.access.key
    role = values.access.role
    account = role.account if role else evaluator.account_of(role_arn) or trial_requests.NOWHERE
    return KeyArn("aws", "us-east-1", account, trial_requests.NO_KEY_ID)
