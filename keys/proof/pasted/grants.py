"""What a permissions or key policy gives to the tenant's role, action by action, and why not; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import actions, arns
from keys.arns import KeyArn
from keys.policies import conditions, documents, evaluator
from keys.policies.evaluator import Request
from keys.proof.pasted import denials, placeholders, time_limits, trial_requests, unseen_conditions
from keys.proof.pasted.findings import Given, Kind, Note, Path, Policy, Values, shown

MOST_UNMET = 10  # conditions of one statement that are named one by one


@dataclass(frozen=True, slots=True)
class Use:
    """The calls on the key that the tenant's documents allow, as far as the ARNs are known."""

    kind: Kind
    policy: Policy
    key: KeyArn
    role_arn: str
    requests: tuple[tuple[str, Request], ...]  # pattern of the documents → a call of ours
    refused: tuple[tuple[str, Request], ...]  # certainly
    unseen: tuple[tuple[str, Request], ...]  # those of which it cannot be seen from here
    denied: tuple[Request, ...]  # those of the refused that a Deny hits


def of(kind: Kind, policy: Policy, values: Values, *, key: KeyArn, role_arn: str) -> Use:
    """Ask for each of the actions that the tenant's documents allow."""
    requests = tuple(_asked(policy, values, key=key, role_arn=role_arn))
    decided = [(each, trial_requests.decide(kind, policy, each[1])) for each in requests]
    refused = tuple(each for each, decision in decided if trial_requests.is_refused(decision))
    unseen = tuple(each for each, decision in decided if trial_requests.is_unseen(decision))
    denied = tuple(request for (_, request), decision in decided if trial_requests.is_denied(decision))
    return Use(kind, policy, key, role_arn, requests, refused, unseen, denied)


def _asked(policy: Policy, values: Values, *, key: KeyArn, role_arn: str) -> Iterator[tuple[str, Request]]:
    """Yield our calls; those that carry the same share one context."""
    who = trial_requests.tenant_role(role_arn)
    contexts: list[conditions.Context] = []
    for pattern, action in actions.members(values.access.actions):
        request = trial_requests.use(action, key, who, values)
        request = trial_requests.seen_against(policy, request, "their role")
        same = next((each for each in contexts if each == request.context), None)
        if same is None:
            contexts.append(request.context)
            yield pattern, request
        else:
            yield pattern, replace(request, context=same)


def granted(use: Use) -> dict[str, Given]:
    """Return the patterns of the tenant's documents that are granted in full."""
    missing, unseen = ({pattern for pattern, _ in some} for some in (use.refused, use.unseen))
    asked = dict.fromkeys(pattern for pattern, _ in use.requests)
    return {pattern: "unseen" if pattern in unseen else "given" for pattern in asked if pattern not in missing}


def missing(use: Use, meant: tuple[Path, dict[str, Any]] | None, values: Values) -> Iterator[Note]:
    """Say what is not granted and which element of the statement meant for us keeps it out."""
    hit = use.denied
    yield from denials.denied(
        use.kind, use.policy, hit, _("An explicit denial wins over every Allow, so we cannot use your key.")
    )
    left = [(pattern, request) for pattern, request in use.refused if request not in hit]
    if not left:
        return
    patterns = list(dict.fromkeys(pattern for pattern, _request in left))
    if meant is None:
        yield _no_statement(use, patterns)
        return
    path, statement = meant
    if use.kind == "key" and not has_effect(statement):
        return  # `policy_grammar` says which element is missing
    causes = {
        (element, request.action): None
        for _pattern, request in left
        for element in trial_requests.failing(use.kind, use.policy, statement, request)
    }
    elements = dict.fromkeys(element for element, _action in causes)
    only_action = [element for element in elements if element not in {"Action", "NotAction"}] == []
    lacking = [
        (pattern, request)
        for pattern, request in left
        if only_action or ("Action", request.action) in causes or ("NotAction", request.action) in causes
    ]
    if lacking:
        element = "NotAction" if "NotAction" in statement else "Action"
        lacked = ", ".join(request.action for _pattern, request in lacking)
        yield Note(
            "missing_action",
            "error",
            (*path, element),
            _("Nothing here allows %(lacked)s to your role.", lacked=lacked)
            if use.kind == "key"
            else _("Nothing here allows %(lacked)s to the role.", lacked=lacked),
            _(
                "Add %(patterns)s to the actions.",
                patterns=", ".join(dict.fromkeys((pattern for pattern, _request in lacking))),
            ),
        )
    for element in elements:
        where = (*path, element)
        if element in {"Resource", "NotResource"}:
            yield from wrong_resource(use, statement, where, values)
        elif element in {"Principal", "NotPrincipal"}:
            yield from wrong_principal(statement, where, use.role_arn, values)
        elif element == "Condition":
            yield from _conditions(use, statement, left, where)
    if statement.get("Effect") == "Deny":
        yield Note(
            "effect",
            "error",
            (*path, "Effect"),
            _("The statement meant for us denies what it should allow."),
            _('Write "Effect": "Allow".'),
        )


def _no_statement(use: Use, patterns: list[str]) -> Note:
    if use.kind == "key":
        text = _(
            "No statement names your role %(role_arn)s, so KMS leaves the decision to others or refuses it.",
            role_arn=use.role_arn,
        )
    else:
        text = _(
            "No statement is about your key: it allows none of %(patterns)s on %(key)s.",
            patterns=", ".join(patterns),
            key=use.key,
        )
    return Note("missing_statement", "error", ("Statement",), text, _("Add the statement of the document below."))


def _conditions(use: Use, statement: Mapping[str, Any], left: list[tuple[str, Request]], where: Path) -> Iterator[Note]:
    found: dict[tuple[str, str], Request] = {}
    for _pattern, request in left:
        for pair in trial_requests.unmet(use.policy, statement, request):
            found.setdefault(pair, request)
    for (operator, key), request in list(found.items())[:MOST_UNMET]:
        yield denials.unmet(operator, key, (*where, operator, key), request)


def principal(role_arn: str, values: Values) -> str:
    """Return the Principal as the guide's statement has it for a role, and for those that it replaces."""
    return f'"Principal": {json.dumps(documents.key_policy_statement(role_arn, values.beside.roles)["Principal"])}'


def wrong_resource(use: Use, statement: Mapping[str, Any], where: Path, values: Values) -> Iterator[Note]:
    """Say how a Resource differs from the key's ARN."""
    if use.kind == "key":
        yield Note(
            "key_resource",
            "error",
            where,
            _("In a key policy the Resource is this key itself, and something else stands here."),
            _('Write "Resource": "*".'),
        )
        return
    (guide,) = documents.permissions_policy(str(use.key), values.beside.keys)["Statement"]
    fix = _('Write "Resource": %(resource)s.', resource=json.dumps(guide["Resource"]))
    if where[-1] == "NotResource":
        yield Note(
            "not_resource",
            "error",
            where,
            _("NotResource allows everything but what it names, and your key is among what it names."),
            fix,
        )
        return
    value = statement.get("Resource")
    for at, name in enumerate(evaluator.listed(value)):
        path = (*where, at) if isinstance(value, list) else where
        if placeholders.is_in(name):
            continue  # named already
        if ":alias/" in name:
            yield Note(
                "alias_in_resource",
                "error",
                path,
                _(
                    "%(name)s is an alias. A policy on an alias gives nothing on the key behind it.",
                    name=shown(name, most=120),
                ),
                fix,
            )
        elif name in values.beside.keys:
            text = _(
                "%(name)s is the key that is being replaced, and the new one is missing.", name=shown(name, most=120)
            )
            yield Note("wrong_resource", "error", path, text, fix)
        elif name.startswith("arn:"):
            yield Note(
                "wrong_resource",
                "error",
                path,
                _(
                    "%(name)s is not your key: %(difference)s.",
                    name=shown(name, most=120),
                    difference=_difference(name, use.key),
                ),
                fix,
            )
        else:
            yield Note(
                "wrong_resource", "error", path, _("%(name)s is no ARN of a key.", name=shown(name, most=120)), fix
            )


def _difference(name: str, key: KeyArn) -> str:
    named = arns.parts(name)
    if named is None or named.service != "kms":
        return _("it names no KMS key")
    for what, theirs, yours in (
        (lazy("partition"), named.partition, key.partition),
        (lazy("Region"), named.region, key.region),
        (lazy("account"), named.account, key.account),
    ):
        if theirs != yours and not theirs:
            return _("its %(what)s is missing, and your key's is %(yours)s", what=_(what), yours=yours)
        if theirs != yours:
            return _(
                "its %(what)s is %(theirs)s, and your key's is %(yours)s",
                what=_(what),
                theirs=shown(theirs, most=30),
                yours=yours,
            )
    return _(
        "its key id is %(resource)s, and yours is %(key_id)s",
        resource=shown(named.resource.removeprefix("key/"), most=50),
        key_id=key.key_id,
    )


def wrong_principal(statement: Mapping[str, Any], where: Path, role_arn: str, values: Values) -> Iterator[Note]:
    """Say how a Principal differs from the tenant's role."""
    fix = _("Set %(principal)s.", principal=principal(role_arn, values))
    names = trial_requests.principals(statement)
    if where[-1] == "NotPrincipal":
        yield Note(
            "not_principal",
            "error",
            where,
            _("NotPrincipal names who is left out, and your role has to be named."),
            fix,
        )
        return
    if not names:
        service = next(
            iter(trial_requests.principals(statement, "Service") or trial_requests.principals(statement, "Federated")),
            "",
        )
        what = (
            _("The Principal is %(service)s; your role is an AWS principal.", service=shown(service))
            if service
            else _("The statement names nobody.")
        )
        yield Note("principal_kind", "error", where, what, fix)
        return
    account = evaluator.account_of(role_arn)
    for name in names[:5]:
        quoted = shown(name, most=120)
        if placeholders.is_in(name):
            continue
        if name == str(values.access.service_role):
            text = _(
                "%(quoted)s is our service role. We come to your key as your own role %(role_arn)s.",
                quoted=quoted,
                role_arn=role_arn,
            )
        elif name in values.beside.roles:
            text = _("%(quoted)s is the role that is being replaced, and the new one is missing.", quoted=quoted)
        elif name.startswith(("AROA", "AIDA")) and name.isalnum():
            text = _(
                "%(quoted)s is what AWS shows in place of a role that was deleted, or deleted and made again.",
                quoted=quoted,
            )
        elif name in {account, f"arn:aws:iam::{account}:root"} or name.endswith(f"::{account}:root"):
            text = _(
                "%(quoted)s is your whole account: it leaves the decision to its IAM policies and names no role.",
                quoted=quoted,
            )
        elif ":assumed-role/" in name:
            text = _(
                "%(quoted)s is one session of a role; ours has another name each time. Name the role itself.",
                quoted=quoted,
            )
        elif name.lower() == role_arn.lower():
            text = _(
                "%(quoted)s differs from your Role ARN in capital and small letters, which AWS tells apart.",
                quoted=quoted,
            )
        elif name.rsplit("/", 1)[-1].lower() == role_arn.rsplit("/", 1)[-1].lower():
            same = evaluator.account_of(name) == account
            text = (
                _("%(quoted)s has another path than your role %(role_arn)s.", quoted=quoted, role_arn=role_arn)
                if same
                else _(
                    "%(quoted)s has the name of your role %(role_arn)s and stands in another account than %(account)s.",
                    quoted=quoted,
                    role_arn=role_arn,
                    account=account,
                )
            )
        else:
            text = _("%(quoted)s is not your role.", quoted=quoted)
        code = "names_our_role" if name == str(values.access.service_role) else "principal_mismatch"
        yield Note(code, "error", (*where, "AWS"), text, fix)


def has_effect(statement: object) -> bool:
    """Tell whether KMS applies a statement: it saves those without Action or Resource too, and passes over them."""
    return (
        isinstance(statement, dict)
        and ("Action" in statement or "NotAction" in statement)
        and ("Resource" in statement or "NotResource" in statement)
    )


def limits(use: Use) -> Iterator[Note]:
    """Name what the calls hang on beside the words of the policy: what cannot be seen from here, and dates."""
    requests = [request for _, request in use.requests]
    yield from unseen_conditions.notes(use.kind, use.policy, requests)
    yield from time_limits.notes(use.kind, use.policy, requests)


def touches_kms(statement: Mapping[str, Any]) -> bool:
    """Tell whether a statement is about the guide's actions, rightly written or nearly."""
    for name in evaluator.listed(statement.get("Action")):
        operation = name.lower().rpartition(":")[2]
        service = name.lower().rpartition(":")[0]
        if service not in {"", "kms"}:
            continue
        if name == "*" or any(
            conditions.glob(operation, ignore_case=True).fullmatch(action[4:])
            for _, action in actions.members(actions.GUIDE)
        ):
            return True
        if operation[:3] in {"enc", "dec", "ree", "gen", "des"}:
            return True
    return False


def left_out(use: Use, values: Values) -> Iterator[Request]:
    """Yield calls that the guide's patterns would allow, and the tenant's narrower documents leave out."""
    decrypt = next(request for _, request in use.requests if request.action == "kms:Decrypt")
    for action in actions.left_out(values.access.actions):
        yield trial_requests.use(action, use.key, decrypt.principal, values)
