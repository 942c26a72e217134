"""What the evaluator is asked about a pasted policy:
the calls that we really make, and those that nobody may make; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from keys.arns import KeyArn
from keys.policies import conditions, evaluator
from keys.policies.conditions import Folded, Unseen
from keys.policies.evaluator import EvalDecision, Evaluation, Principal, Request
from keys.proof.pasted import context_keys
from keys.proof.pasted.context_keys import Caller
from keys.proof.pasted.findings import Kind, Path, Policy, Values

NOWHERE = "000000000000"
NO_KEY_ID = "00000000-0000-0000-0000-000000000000"
EVERYTHING: Policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ALLOW_ALL: dict[str, Any] = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
STRANGER = Principal("arn:aws:iam::000000000009:user/stranger", "000000000009", "AIDASTRANGER")
STRANGER_ROLE = Principal(
    "arn:aws:sts::000000000008:assumed-role/stranger/s",
    "000000000008",
    "AROASTRANGER",
    "arn:aws:iam::000000000008:role/stranger",
)
ELEMENTS = (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal"), ("Condition",))


def statements(policy: Policy) -> list[tuple[Path, dict[str, Any]]]:
    """Return the statements that are objects, with their paths."""
    found = policy["Statement"]
    if isinstance(found, dict):
        return [(("Statement",), found)]
    return [(("Statement", at), each) for at, each in enumerate(found) if isinstance(each, dict)]


def decide(kind: Kind, policy: Policy, request: Request) -> Evaluation:
    """Ask whether a policy, with everything around it as open as can be, lets a request through.

    A key policy has to name the role itself: the statement for the account root, which every key has,
    leaves the decision to others and is not what the guide asks for.
    """
    if kind == "trust":
        return evaluator.evaluate(request, identity=[EVERYTHING], resource=policy)
    if kind == "key":
        return evaluator.evaluate(request, resource=policy)
    root = {"Effect": "Allow", "Principal": {"AWS": request.principal.account}, "Action": "*", "Resource": "*"}
    return evaluator.evaluate(request, identity=[policy], resource={"Statement": [root]})


def allowing(
    kind: Kind,
    policy: Policy,
    request: Request,
    *,
    but: Collection[Path] = (),
    decision: EvalDecision = EvalDecision.ALLOWED,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the Allow statements, but for some, that let a request through by themselves.

    Args:
        decision: `UNSEEN` asks for those that may, as far as can be seen.
    """
    for path, statement in statements(policy):
        if (
            statement.get("Effect") == "Allow"
            and path not in but
            and decide(kind, _alone(policy, statement), request).decision is decision
        ):
            yield path, statement


def lets(policy: Policy, statement: dict[str, Any], request: Request, *, kind: Kind = "key") -> bool:
    """Tell whether a statement lets a request through, with every Deny of its policy in force."""
    denies = [each for _, each in statements(policy) if each.get("Effect") == "Deny"]
    return decide(kind, {**policy, "Statement": [*denies, statement]}, request).allowed


def denying(
    kind: Kind, policy: Policy, requests: Iterable[Request], *, decision: EvalDecision = EvalDecision.EXPLICIT_DENY
) -> Iterator[tuple[Path, dict[str, Any], Request]]:
    """Yield the Deny statements that hit one of the requests, each with the first that it hits.

    Args:
        decision: `UNSEEN` asks for those that may hit one, as far as can be seen.
    """
    left = [(path, each) for path, each in statements(policy) if each.get("Effect") == "Deny"]
    for request in requests:
        missed: list[tuple[Path, dict[str, Any]]] = []
        for path, statement in left:
            both = {**_alone(policy, statement), "Statement": [ALLOW_ALL, statement]}
            if decide(kind, both, request).decision is decision:
                yield path, statement, request
            else:
                missed.append((path, statement))
        left = missed


def _alone(policy: Policy, statement: dict[str, Any]) -> Policy:
    return {"Version": policy.get("Version"), "Statement": [statement]}


def failing(kind: Kind, policy: Policy, statement: dict[str, Any], request: Request) -> list[str]:
    """Return the elements of an Allow statement that, each by itself, certainly keep a request out."""
    found: list[str] = []
    for names in ELEMENTS:
        name = next((each for each in names if each in statement), "")
        if not name and names[0] in {"Condition", "Resource"}:
            continue
        if kind == "permissions" and names[0] == "Principal":
            continue
        open_wide = {key: value for key, value in ALLOW_ALL.items() if key != names[0]}
        probe = {**open_wide, **({name: statement[name]} if name else {})}
        if is_refused(decide(kind, _alone(policy, probe), request)):
            found.append(name or names[0])
    return found


def unmet(
    policy: Policy, statement: Mapping[str, Any], request: Request, *, answer: bool | None = False
) -> list[tuple[str, str]]:
    """Return the operators and keys of a Condition that our call does not meet.

    Args:
        answer: None asks for those of which it cannot be seen, True for those that are met.
    """
    condition = statement.get("Condition")
    variables = policy.get("Version") == evaluator.VARIABLES_SINCE
    if not isinstance(condition, Mapping):
        return []
    return [
        (str(operator), str(key))
        for operator, keys in condition.items()
        if isinstance(keys, Mapping)
        for key, wanted in keys.items()
        if conditions.judge({operator: {key: wanted}}, request.context, variables=variables) is answer
    ]


# --- who asks ------------------------------------------------------------------------------------------------


def _call(arn: str, account: str, address: str) -> dict[str, str | Sequence[str] | Unseen]:
    """Return what AWS knows of a call of ours:
    over TLS, from outside the customer's network, without MFA, through no service."""
    return {
        "aws:PrincipalArn": arn,
        "aws:PrincipalAccount": account,
        "aws:PrincipalType": "AssumedRole",
        "aws:PrincipalIsAWSService": "false",
        "aws:ViaAWSService": "false",
        "aws:ViaAWSMCPService": "false",
        "aws:SecureTransport": "true",
        "aws:MultiFactorAuthPresent": "false",
        "aws:SourceIp": address,
        "aws:UserAgent": "Boto3",
        **_at(_now()),
    }


def _now() -> datetime:
    return datetime.now(UTC)


def _at(moment: datetime) -> dict[str, str]:
    """Return the keys that tell the time of a call; our sessions are minutes old."""
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "aws:CurrentTime": text,
        "aws:EpochTime": str(int(moment.timestamp())),
        "aws:TokenIssueTime": text,
    }


def later(request: Request, days: int) -> Request:
    """Return the same call, made that many days from now."""
    return carrying(request, _at(_now() + timedelta(days=days)))


def carrying(request: Request, more: conditions.Context) -> Request:
    """Return the same call with more in its context, or something else."""
    return replace(request, context=Folded.of(request.context, more))


def seen_against(policy: Policy, request: Request, caller: Caller) -> Request:
    """Return a call with what the policy asks of it and cannot be seen from here."""
    return carrying(request, context_keys.unseen(policy, request.context, caller))


def ours(values: Values) -> Principal:
    """Return our service role's session, as STS sees it."""
    role = values.access.service_role
    session = f"arn:aws:sts::{role.account}:assumed-role/{role.name}/byok-service"
    return Principal(session, role.account, "AROAOURS", str(role))


def assume(values: Values, who: Principal, external_id: str | None, *, action: str = "sts:AssumeRole") -> Request:
    """Return the call that takes the tenant's role, to the STS endpoint of the key's Region."""
    role = str(values.access.role or f"arn:aws:iam::{NOWHERE}:role/yours")
    context = _call(who.role_arn or who.arn, who.account, values.address)
    context |= {
        # one of several: it ends on what we are about to do
        "sts:RoleSessionName": Unseen((("byok-service",), (f"byok-test-{values.access.tenant}",))),
        "aws:ResourceAccount": evaluator.account_of(role),
    }
    if values.access.key is not None:
        context["aws:RequestedRegion"] = values.access.key.region
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    return Request(action, role, who, Folded.of(context))


def right(policy: Policy, values: Values) -> Request:
    """Return the call with which our role takes the tenant's, as a trust policy sees it."""
    return seen_against(policy, assume(values, ours(values), values.access.external_id), "our role")


def tenant_role(role_arn: str) -> Principal:
    """Return our session in the tenant's role, as KMS sees it."""
    account, name = evaluator.account_of(role_arn), role_arn.rsplit("/", 1)[-1]
    return Principal(f"arn:aws:sts::{account}:assumed-role/{name}/byok-service", account, "AROAYOURS", role_arn)


def use(action: str, key: KeyArn, who: Principal, values: Values) -> Request:
    """Return a call of KMS on the key."""
    context: dict[str, str | Sequence[str] | Unseen] = {
        **_call(who.role_arn or who.arn, who.account, values.address),
        "kms:CallerAccount": who.account,
        "kms:KeySpec": "SYMMETRIC_DEFAULT",
        "kms:KeyUsage": "ENCRYPT_DECRYPT",
        "kms:MultiRegion": str(key.is_multi_region).lower(),
        "aws:RequestedRegion": key.region,
        "aws:ResourceAccount": key.account,
    }
    if action in {"kms:ReEncryptFrom", "kms:ReEncryptTo"}:
        context["kms:ReEncryptOnSameKey"] = "true"
    if action != "kms:DescribeKey":  # it takes no encryption context, so a condition on one refuses it
        context |= {"kms:EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "kms:EncryptionContextKeys": ["purpose", "tenant"]}
        if values.access.tenant:
            context |= {"kms:EncryptionContext:tenant": values.access.tenant}
    # As if the key stood in the role's account:
    # across accounts an identity policy has to allow too, and that is another document.
    return Request(action, str(key), who, Folded.of(context), who.account)


def named_ids(policy: Policy) -> list[str]:
    """Return the External IDs that a trust policy names, wildcards and all."""
    found: list[str] = []
    for _, statement in statements(policy):
        found += [each for _, _, texts in external_id_conditions(statement) for each in texts]
    return list(dict.fromkeys(found))


def external_id_conditions(statement: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return operator, key and values of every condition on the External ID in a statement."""
    condition = statement.get("Condition")
    return [
        (str(operator), str(key), conditions.texts(wanted))
        for operator, keys in (condition.items() if isinstance(condition, Mapping) else ())
        if isinstance(keys, Mapping)
        for key, wanted in keys.items()
        if str(key).lower() == "sts:externalid"
    ]


def principals(statement: Mapping[str, Any], kind: str = "AWS") -> list[str]:
    """Return whom a statement names, of one kind of principal."""
    principal = statement.get("Principal")
    if principal == "*":
        return ["*"] if kind == "AWS" else []
    found = principal.get(kind) if isinstance(principal, Mapping) else None
    return [each for each in (found if isinstance(found, list) else [found]) if isinstance(each, str)]


def is_denied(evaluation: Evaluation) -> bool:
    return evaluation.decision is EvalDecision.EXPLICIT_DENY


def is_refused(evaluation: Evaluation) -> bool:
    """Tell whether a call is certainly not let through."""
    return evaluation.decision in {EvalDecision.IMPLICIT_DENY, EvalDecision.EXPLICIT_DENY}


def is_unseen(evaluation: Evaluation) -> bool:
    return evaluation.decision is EvalDecision.UNSEEN
