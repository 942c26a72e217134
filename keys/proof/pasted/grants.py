"""What a permissions or key policy gives to the tenant's role, action by action, and why not; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from keys import arns
from keys.arns import KeyArn
from keys.policies import conditions, documents, evaluator
from keys.policies.evaluator import Request
from keys.proof.pasted import denials, placeholders, time_limits, trial_requests, unseen_conditions
from keys.proof.pasted.findings import Given, Kind, Note, Path, Policy, Values, shown

MOST_UNMET = 10  # conditions of one statement that are named one by one


@dataclass(frozen=True, slots=True)
class Use:
    """The guide's calls on the key, as far as the ARNs are known."""

    kind: Kind
    policy: Policy
    key: KeyArn
    role_arn: str
    requests: tuple[tuple[str, Request], ...]  # pattern of the guide → a call of ours
    refused: tuple[tuple[str, Request], ...]  # certainly
    unseen: tuple[tuple[str, Request], ...]  # those of which it cannot be seen from here
    denied: tuple[Request, ...]  # those of the refused that a Deny hits


def of(kind: Kind, policy: Policy, values: Values, *, key: KeyArn, role_arn: str) -> Use:
    """Ask for each of the guide's actions."""
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
    for pattern, action in trial_requests.guide_actions():
        request = trial_requests.use(action, key, who, values)
        request = trial_requests.seen_against(policy, request, "their role")
        same = next((each for each in contexts if each == request.context), None)
        if same is None:
            contexts.append(request.context)
            yield pattern, request
        else:
            yield pattern, replace(request, context=same)


def granted(use: Use) -> dict[str, Given]:
    """Return the guide's patterns that are granted in full."""
    missing, unseen = ({pattern for pattern, _ in some} for some in (use.refused, use.unseen))
    return {
        pattern: "unseen" if pattern in unseen else "given" for pattern in documents.ACTIONS if pattern not in missing
    }


def missing(use: Use, meant: tuple[Path, dict[str, Any]] | None, values: Values) -> Iterator[Note]:
    """Say what is not granted and which element of the statement meant for us keeps it out."""
    hit = use.denied
    yield from denials.denied(
        use.kind, use.policy, hit, "An explicit denial wins over every Allow, so we cannot use your key."
    )
    left = [(pattern, request) for pattern, request in use.refused if request not in hit]
    if not left:
        return
    patterns = list(dict.fromkeys(pattern for pattern, _ in left))
    if meant is None:
        yield _no_statement(use, patterns)
        return
    path, statement = meant
    if use.kind == "key" and not has_effect(statement):
        return  # `policy_grammar` says which element is missing
    causes = {
        (element, request.action): None
        for _, request in left
        for element in trial_requests.failing(use.kind, use.policy, statement, request)
    }
    elements = dict.fromkeys(element for element, _ in causes)
    only_action = [element for element in elements if element not in {"Action", "NotAction"}] == []
    lacking = [
        (pattern, request)
        for pattern, request in left
        if only_action or ("Action", request.action) in causes or ("NotAction", request.action) in causes
    ]
    if lacking:
        element = "NotAction" if "NotAction" in statement else "Action"
        yield Note(
            "missing_action",
            "error",
            (*path, element),
            (
                f"Nothing here allows {', '.join(request.action for _, request in lacking)} to "
                f"{'your role' if use.kind == 'key' else 'the role'}."
            ),
            f"Add {', '.join(dict.fromkeys(pattern for pattern, _ in lacking))} to the actions.",
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
            "The statement meant for us denies what it should allow.",
            'Write "Effect": "Allow".',
        )


def _no_statement(use: Use, patterns: list[str]) -> Note:
    if use.kind == "key":
        text = f"No statement names your role {use.role_arn}, so KMS leaves the decision to others or refuses it."
    else:
        text = f"No statement is about your key: it allows none of {', '.join(patterns)} on {use.key}."
    return Note("missing_statement", "error", ("Statement",), text, "Add the statement of the document below.")


def _conditions(use: Use, statement: Mapping[str, Any], left: list[tuple[str, Request]], where: Path) -> Iterator[Note]:
    found: dict[tuple[str, str], Request] = {}
    for _, request in left:
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
            "In a key policy the Resource is this key itself, and something else stands here.",
            'Write "Resource": "*".',
        )
        return
    (guide,) = documents.permissions_policy(str(use.key), values.beside.keys)["Statement"]
    fix = f'Write "Resource": {json.dumps(guide["Resource"])}.'
    if where[-1] == "NotResource":
        yield Note(
            "not_resource",
            "error",
            where,
            "NotResource allows everything but what it names, and your key is among what it names.",
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
                f"{shown(name, most=120)} is an alias. A policy on an alias gives nothing on the key behind it.",
                fix,
            )
        elif name in values.beside.keys:
            text = f"{shown(name, most=120)} is the key that is being replaced, and the new one is missing."
            yield Note("wrong_resource", "error", path, text, fix)
        elif name.startswith("arn:"):
            yield Note(
                "wrong_resource",
                "error",
                path,
                f"{shown(name, most=120)} is not your key: {_difference(name, use.key)}.",
                fix,
            )
        else:
            yield Note("wrong_resource", "error", path, f"{shown(name, most=120)} is no ARN of a key.", fix)


def _difference(name: str, key: KeyArn) -> str:
    named = arns.parts(name)
    if named is None or named.service != "kms":
        return "it names no KMS key"
    for what, theirs, yours in (
        ("partition", named.partition, key.partition),
        ("Region", named.region, key.region),
        ("account", named.account, key.account),
    ):
        if theirs != yours:
            return f"its {what} is {shown(theirs, most=30) if theirs else 'missing'}, and your key's is {yours}"
    return f"its key id is {shown(named.resource.removeprefix('key/'), most=50)}, and yours is {key.key_id}"


def wrong_principal(statement: Mapping[str, Any], where: Path, role_arn: str, values: Values) -> Iterator[Note]:
    """Say how a Principal differs from the tenant's role."""
    fix = f"Set {principal(role_arn, values)}."
    names = trial_requests.principals(statement)
    if where[-1] == "NotPrincipal":
        yield Note(
            "not_principal", "error", where, "NotPrincipal names who is left out, and your role has to be named.", fix
        )
        return
    if not names:
        service = next(
            iter(trial_requests.principals(statement, "Service") or trial_requests.principals(statement, "Federated")),
            "",
        )
        what = (
            f"The Principal is {shown(service)}; your role is an AWS principal."
            if service
            else "The statement names nobody."
        )
        yield Note("principal_kind", "error", where, what, fix)
        return
    account = evaluator.account_of(role_arn)
    for name in names[:5]:
        quoted = shown(name, most=120)
        if placeholders.is_in(name):
            continue
        if name == str(values.access.service_role):
            text = f"{quoted} is our service role. We come to your key as your own role {role_arn}."
        elif name in values.beside.roles:
            text = f"{quoted} is the role that is being replaced, and the new one is missing."
        elif name.startswith(("AROA", "AIDA")) and name.isalnum():
            text = f"{quoted} is what AWS shows in place of a role that was deleted, or deleted and made again."
        elif name in {account, f"arn:aws:iam::{account}:root"} or name.endswith(f"::{account}:root"):
            text = f"{quoted} is your whole account: it leaves the decision to its IAM policies and names no role."
        elif ":assumed-role/" in name:
            text = f"{quoted} is one session of a role; ours has another name each time. Name the role itself."
        elif name.lower() == role_arn.lower():
            text = f"{quoted} differs from your Role ARN in capital and small letters, which AWS tells apart."
        elif name.rsplit("/", 1)[-1].lower() == role_arn.rsplit("/", 1)[-1].lower():
            same = evaluator.account_of(name) == account
            text = (
                f"{quoted} has {'another path than' if same else 'the name of'} your role "
                f"{role_arn}{'' if same else f' and stands in another account than {account}'}."
            )
        else:
            text = f"{quoted} is not your role."
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
            for _, action in trial_requests.guide_actions()
        ):
            return True
        if operation[:3] in {"enc", "dec", "ree", "gen", "des"}:
            return True
    return False
