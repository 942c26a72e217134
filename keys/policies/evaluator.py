"""Who may do what: AWS's policy evaluation, with the layer and statement that decided; pure.

Source: IAM guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS guide, "Key policies in AWS KMS"
(a key policy must allow, or let the account's IAM policies decide by naming the account root).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from keys.policies import conditions

Policy = Mapping[str, Any]
NO_POLICY: Policy = MappingProxyType({"Statement": []})
IDENTITY, RESOURCE, TRUST = "identity-based policy", "resource-based policy", "role trust policy"
BOUNDARY, SESSION, SCP, RCP = (
    "permissions boundary",
    "session policy",
    "service control policy",
    "resource control policy",
)


TRUSTED = {"sts:tagsession", "sts:setsourceidentity"}  # asked of the role's trust policy beside sts:AssumeRole…
VARIABLES_SINCE = "2012-10-17"  # before it `${…}` in a policy is plain text (IAM guide, "Policy variables")


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

    @property
    def is_root(self) -> bool:
        """Tell whether this is the root user of an account."""
        return self.arn.endswith(":root")


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
    """A statement that applies, and how it names the caller: `exact` its session or user, `direct` its role or everybody,
    `delegated` its account."""

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
    granted: str = "",
) -> Decision:
    """Decide a request: explicit deny first, then every layer that has to allow.

    Args:
        identity: the policies of the user or role; with a session, those of its role.
        resource: the role trust policy (sts:AssumeRole…) or the key policy (kms:…) of what is asked for.
        session: the inline policy that the session was made with.
        boundaries: each one has to allow.
        scps, rcps: those attached at one level of the organization; where there are any, one of them has to allow.
        granted: the id of a KMS grant that covers the request; it allows as a key policy that names the caller does.
    """
    action = request.action.lower()
    if action == "sts:getcalleridentity":  # IAM guide: no permission is needed, and no policy can take it away
        return Decision(Verdict.ALLOWED, IDENTITY, "", f"{request.action} needs no permission.")
    trust = action in TRUSTED or action.startswith("sts:assumerole")
    resource_layer = TRUST if trust else RESOURCE
    layers: list[tuple[str, Sequence[Policy]]] = [
        (RCP, rcps), (SCP, scps), (resource_layer, [resource] if resource is not None else []), (IDENTITY, identity),
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
        if policies and not any(
            any(_hits(policy, "Allow", request, with_principal=layer == RCP)) for policy in policies
        ):
            return _implicit(layer, request)
    by_resource = _best(_hits(resource, "Allow", request, with_principal=True)) if resource is not None else None
    if granted and (by_resource is None or by_resource.how == "delegated"):
        by_resource = _Hit(f"grant {granted}")
    return _allow(request, resource_layer, by_resource, identity, session, boundaries)


def _allow(
    request: Request,
    resource_layer: str,
    by_resource: _Hit | None,
    identity: Sequence[Policy],
    session: Policy | None,
    boundaries: Sequence[Policy],
) -> Decision:
    """Find the layers that have to allow, in the order in which AWS names the missing one."""
    who = request.principal
    same_account = (request.resource_account or account_of(request.resource) or who.account) == who.account
    # Roles and KMS keys always have a policy of their own; `*` stands for calls about no key, like kms:ListKeys.
    has_policy = resource_layer == TRUST or (request.action.lower().startswith("kms:") and request.resource != "*")
    if by_resource is None and (has_policy or not same_account):
        return _implicit(resource_layer, request)
    if by_resource is not None and (same_account or who.service):
        allowed = Decision(
            Verdict.ALLOWED,
            resource_layer,
            by_resource.name,
            f"{by_resource.name} of the {resource_layer} allows {request.action}.",
        )
        # A policy that names the very session or user is narrowed by nothing but a deny (IAM guide, "Resource-based policies and
        # implicit denies in other policy types"); so is a service. One that names the role leaves boundary and session their say.
        if by_resource.how == "exact" or who.service:
            return allowed
    else:
        allowed = None
    by_identity = next((hit for policy in identity for hit in _hits(policy, "Allow", request)), None)
    if who.is_root:
        by_identity = _Hit("the account's root user")  # no identity-based policy limits it
    if by_identity is None and (allowed is None or by_resource is None or by_resource.how == "delegated"):
        return _implicit(IDENTITY, request)
    for policy in boundaries:
        if not any(_hits(policy, "Allow", request)):
            return _implicit(BOUNDARY, request)
    if session is not None and not any(_hits(session, "Allow", request)):
        return _implicit(SESSION, request)
    if by_identity is None:
        assert allowed is not None
        return allowed
    words = f"{by_identity.name} of the {IDENTITY} allows {request.action}."
    if by_resource is not None:
        words = f"{words[:-1]}, and so does {by_resource.name} of the {resource_layer}."
    return Decision(Verdict.ALLOWED, IDENTITY, by_identity.name, words)


def _implicit(layer: str, request: Request) -> Decision:
    return Decision(Verdict.IMPLICIT_DENY, layer, "", f"No {layer} allows {request.action}.")


def _best(hits: Iterator[_Hit]) -> _Hit | None:
    return min(hits, key=lambda hit: ORDER[hit.how], default=None)


def _hits(policy: Policy, effect: str, request: Request, *, with_principal: bool = False) -> Iterator[_Hit]:
    """Yield the statements of that effect that apply to the request."""
    variables = policy.get("Version") == VARIABLES_SINCE
    for number, statement in enumerate(statements(policy), start=1):
        if (
            statement.get("Effect") != effect
            or not _action_matches(statement, request.action)
            or not _resource_matches(statement, request, variables)
        ):
            continue
        how = _principal_matches(statement, request.principal, effect) if with_principal else "direct"
        if how and _condition_holds(statement, request, effect, variables):
            yield _Hit(str(statement.get("Sid") or f"statement {number}"), how)


def _condition_holds(statement: Mapping[str, Any], request: Request, effect: str, variables: bool) -> bool:
    if "Condition" not in statement:
        return True
    condition = statement["Condition"]
    if effect == "Deny" and not conditions.readable(condition):
        return True  # AWS would not have saved it: when in doubt a deny denies
    return conditions.holds(condition, request.context, variables=variables)


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


def _resource_matches(statement: Mapping[str, Any], request: Request, variables: bool) -> bool:
    def matches(text: str) -> bool:
        made = conditions.pattern(text, request.context, variables=variables)
        return made is not None and made.fullmatch(request.resource) is not None

    if "NotResource" in statement:
        return not any(matches(text) for text in listed(statement["NotResource"]))
    if "Resource" in statement:
        return any(matches(text) for text in listed(statement["Resource"]))
    return True  # a trust policy has none: it stands on the role itself


ORDER = {"exact": 0, "direct": 1, "delegated": 2, "": 3}


def _principal_matches(statement: Mapping[str, Any], who: Principal, effect: str) -> str:
    """Return how a statement names the caller: "exact", "direct", "delegated", or "" when it does not."""
    if "NotPrincipal" not in statement:
        return _named(statement.get("Principal"), who, effect)
    spared = _spared(statement["NotPrincipal"], who, effect)
    return "" if spared else "direct"


def _spared(principal: object, who: Principal, effect: str) -> bool:
    """Tell whether NotPrincipal leaves the caller out.

    A deny spares only whom it names whole: the account, the role or user, and the session too (IAM guide, "NotPrincipal": AWS
    may look at the account first, then the role, then the session). An allow leaves out whoever is named in any way.
    """
    if effect == "Allow" or principal == "*" or not isinstance(principal, Mapping) or who.service:
        return bool(_named(principal, who, effect))
    names = set(listed(principal.get("AWS")))
    account = {who.account, f"arn:aws:iam::{who.account}:root"}
    needed = [account, {who.role_arn or who.arn, who.unique_id or who.arn}]
    if who.role_arn and who.role_arn != who.arn:
        needed.append({who.arn})
    return "*" in names or all(names & each for each in needed)


def _named(principal: object, who: Principal, effect: str) -> str:
    if principal == "*":
        return "direct"
    if not isinstance(principal, Mapping):
        return ""
    if who.service:
        return "direct" if who.service in listed(principal.get("Service")) else ""
    return min((_how(name, who, effect) for name in listed(principal.get("AWS"))), key=ORDER.__getitem__, default="")


def _how(name: str, who: Principal, effect: str) -> str:
    if name == "*":
        return "direct"
    if name == who.role_arn or (who.role_arn and name == who.unique_id):
        return "direct"
    if name == who.arn or (name and name == who.unique_id):
        # The root user is its account: it is told apart by nothing.
        return "delegated" if name.endswith(":root") and effect == "Allow" else "exact"
    if name == who.account or (name.startswith("arn:") and name.endswith(f":iam::{who.account}:root")):
        return "delegated" if effect == "Allow" else "direct"
    return ""
