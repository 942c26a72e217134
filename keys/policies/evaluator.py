"""Who may do what: AWS's policy evaluation, with the layer and statement that decided; pure.

Source: IAM guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS guide, "Key policies in AWS KMS"
(a key policy must allow, or let the account's IAM policies decide by naming the account root).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keys.policies import conditions

Policy = Mapping[str, Any]
IDENTITY, RESOURCE, TRUST = "identity-based policy", "resource-based policy", "role trust policy"
BOUNDARY, SESSION, SCP, RCP = (
    "permissions boundary",
    "session policy",
    "service control policy",
    "resource control policy",
)


class Verdict(StrEnum):
    ALLOWED = "allowed"
    IMPLICIT_DENY = "implicit deny"
    EXPLICIT_DENY = "explicit deny"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user, a role's session, an account root or a service."""

    arn: str
    account: str
    unique_id: str = ""
    role_arn: str = ""
    service: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `context` keys are looked up without regard to case."""

    action: str
    resource: str
    principal: Principal
    context: Mapping[str, str | Sequence[str]]
    resource_account: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict, and what decided it."""

    verdict: Verdict
    layer: str
    statement: str
    because: str

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOWED


@dataclass(frozen=True, slots=True)
class _Hit:
    """A statement that applies, and how its principal matched: direct, delegated (account root) or public."""

    name: str
    how: str = "direct"


def evaluate(
    request: Request,
    *,
    identity: Sequence[Policy] = (),
    resource: Policy | None = None,
    session: Policy | None = None,
    boundaries: Sequence[Policy] = (),
    scps: Sequence[Policy] = (),
    rcps: Sequence[Policy] = (),
) -> Decision:
    """Decide a request: explicit deny first, then every layer that has to allow.

    Args:
        identity: the policies of the user or role; with a session, those of its role.
        resource: the role trust policy (sts:AssumeRole…) or the key policy (kms:…) of what is asked for.
        session: the inline policy that the session was made with.
        boundaries, scps, rcps: each one has to allow where it is given.
    """
    trust = request.action.lower().startswith("sts:assumerole")
    layers: list[tuple[str, Sequence[Policy]]] = [
        (RCP, rcps), (SCP, scps), (TRUST if trust else RESOURCE, [resource] if resource is not None else []), (IDENTITY, identity),
        (BOUNDARY, boundaries), (SESSION, [session] if session is not None else []),
    ]  # fmt: skip
    for layer, policies in layers:
        for policy in policies:
            for hit in _hits(policy, "Deny", request, with_principal=layer in {TRUST, RESOURCE, RCP}):
                return Decision(
                    Verdict.EXPLICIT_DENY,
                    layer,
                    hit.name,
                    f"{hit.name} of the {layer} explicitly denies {request.action}.",
                )
    for layer, policies in ((RCP, rcps), (SCP, scps)):
        for policy in policies:
            if not any(_hits(policy, "Allow", request, with_principal=layer == RCP)):
                return _implicit(layer, request)
    return _allow(request, trust=trust, identity=identity, resource=resource, session=session, boundaries=boundaries)


def _allow(
    request: Request,
    *,
    trust: bool,
    identity: Sequence[Policy],
    resource: Policy | None,
    session: Policy | None,
    boundaries: Sequence[Policy],
) -> Decision:
    """Find the layers that have to allow, in the order in which AWS names the missing one."""
    resource_layer = TRUST if trust else RESOURCE
    same_account = (
        request.resource_account or account_of(request.resource) or request.principal.account
    ) == request.principal.account
    by_resource = _best(_hits(resource, "Allow", request, with_principal=True)) if resource is not None else None
    by_identity = next((hit for policy in identity for hit in _hits(policy, "Allow", request)), None)
    needs_resource = trust or request.action.lower().startswith("kms:")
    if (needs_resource or not same_account) and resource is not None and by_resource is None:
        return _implicit(resource_layer, request)
    if needs_resource and resource is None and (trust or request.resource != "*"):
        return _implicit(resource_layer, request)
    # A resource policy that names the session's own ARN is not narrowed by session policy or boundary;
    # one that names the role, the user or the account leaves the other layers their say.
    if same_account and by_resource is not None and by_resource.how == "session":
        return Decision(
            Verdict.ALLOWED,
            resource_layer,
            by_resource.name,
            f"{by_resource.name} of the {resource_layer} names this session.",
        )
    named = same_account and by_resource is not None and by_resource.how == "direct"
    if by_identity is None and not named:
        return _implicit(IDENTITY, request)
    for policy in boundaries:
        if not any(_hits(policy, "Allow", request)):
            return _implicit(BOUNDARY, request)
    if session is not None and not any(_hits(session, "Allow", request)):
        return _implicit(SESSION, request)
    if by_identity is not None:
        return Decision(
            Verdict.ALLOWED,
            IDENTITY,
            by_identity.name,
            f"{by_identity.name} of the {IDENTITY} allows {request.action}.",
        )
    assert by_resource is not None
    return Decision(
        Verdict.ALLOWED,
        resource_layer,
        by_resource.name,
        f"{by_resource.name} of the {resource_layer} allows {request.action}.",
    )


def _implicit(layer: str, request: Request) -> Decision:
    return Decision(Verdict.IMPLICIT_DENY, layer, "", f"No {layer} allows {request.action}.")


def _best(hits: Iterator[_Hit]) -> _Hit | None:
    order = {"session": 0, "direct": 1, "delegated": 2}
    return min(hits, key=lambda hit: order[hit.how], default=None)


def _hits(policy: Policy, effect: str, request: Request, *, with_principal: bool = False) -> Iterator[_Hit]:
    """Yield the statements of that effect that apply to the request."""
    for number, statement in enumerate(statements(policy), start=1):
        if (
            statement.get("Effect") != effect
            or not _action_matches(statement, request.action)
            or not _resource_matches(statement, request)
        ):
            continue
        how = _principal_matches(statement, request.principal, effect) if with_principal else "direct"
        if how and ("Condition" not in statement or conditions.holds(statement["Condition"], request.context)):
            yield _Hit(str(statement.get("Sid") or f"statement {number}"), how)


def statements(policy: Policy) -> list[Mapping[str, Any]]:
    """Return the statements of a policy, also where a single one stands without its list."""
    found = policy.get("Statement", [])
    return [s for s in (found if isinstance(found, list) else [found]) if isinstance(s, Mapping)]


def listed(value: object) -> list[str]:
    """Return a policy element as a list of strings."""
    return [str(item) for item in value] if isinstance(value, list | tuple) else [] if value is None else [str(value)]


def account_of(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _action_matches(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(
            conditions.glob(name, ignore_case=True).fullmatch(action) for name in listed(statement["NotAction"])
        )
    return any(conditions.glob(name, ignore_case=True).fullmatch(action) for name in listed(statement.get("Action")))


def _resource_matches(statement: Mapping[str, Any], request: Request) -> bool:
    def matches(pattern: str) -> bool:
        # `${*}` is a literal star, not a wildcard: it is hidden from the wildcards while variables are filled in.
        filled = conditions.substitute(pattern, request.context)
        return filled is not None and conditions.glob(filled).fullmatch(request.resource) is not None

    if "NotResource" in statement:
        return not any(matches(pattern) for pattern in listed(statement["NotResource"]))
    if "Resource" in statement:
        return any(matches(pattern) for pattern in listed(statement["Resource"]))
    return True  # a trust policy has none: it stands on the role itself


def _principal_matches(statement: Mapping[str, Any], who: Principal, effect: str) -> str:
    """Return how a statement names the caller: "session", "direct", "delegated", or "" when it does not."""
    if "NotPrincipal" in statement:
        named = _named(statement["NotPrincipal"], who, effect)
        return "" if named else "direct"
    return _named(statement.get("Principal"), who, effect)


def _named(principal: object, who: Principal, effect: str) -> str:
    if principal == "*":
        return "direct"
    if not isinstance(principal, Mapping):
        return ""
    if who.service:
        return "direct" if who.service in listed(principal.get("Service")) else ""
    best = ""
    for name in listed(principal.get("AWS")):
        if name == "*":
            how = "direct"
        elif who.role_arn and name == who.arn:
            how = "session"
        elif name in {who.arn, who.role_arn or who.arn} or (name == who.unique_id and name):
            how = "direct"
        elif name == who.account or (name.startswith("arn:") and name.endswith(f":iam::{who.account}:root")):
            how = "delegated" if effect == "Allow" else "direct"
        else:
            continue
        if how == "session":
            return how
        best = "direct" if "direct" in {best, how} else how
    return best
