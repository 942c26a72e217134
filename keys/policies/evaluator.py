"""Who may do what: AWS's policy evaluation, with the layer and statement that decided; pure.

Source: IAM guide, "Policy evaluation logic" and "Cross-account policy evaluation logic"; KMS guide, "Key
policies in AWS KMS" (a key policy must allow, or let the account's IAM policies decide by naming the account root).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from keys import arns
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


Levels = Sequence["Policy | Sequence[Policy]"]
FREE = {"sts:getcalleridentity", "sts:getsessiontoken"}  # STS API: no permission is needed, and no policy takes it away
TRUSTED = {"sts:tagsession", "sts:setsourceidentity"}  # asked of the role's trust policy beside sts:AssumeRole…
VARIABLES_SINCE = "2012-10-17"  # before it `${…}` in a policy is plain text (IAM guide, "Policy variables")


class EvalDecision(StrEnum):
    ALLOWED = "allowed"
    IMPLICIT_DENY = "implicit deny"
    EXPLICIT_DENY = "explicit deny"
    UNSEEN = "unseen"  # it hangs on a context key that whoever asks cannot know


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a user, a role's session, an account root; or, without an account of its own, a
    service, somebody whom an identity provider vouches for, or nobody in particular (`*`)."""

    arn: str
    account: str
    unique_id: str = ""
    role_arn: str = ""
    service: str = ""
    federated: str = ""  # the provider
    any_path: bool = False  # all that is known of the role is its session's ARN, which leaves the path out

    @property
    def is_root(self) -> bool:
        """Tell whether this is the root user of an account."""
        return self.arn.endswith(":root")

    @property
    def is_service_linked(self) -> bool:
        """Tell whether this is a role that AWS made for a service of its own: no organization policy limits it."""
        return ":role/aws-service-role/" in self.role_arn


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `context` keys are looked up without regard to case.

    Args:
        favoured: what hangs on an `Unseen` context key is taken for the caller: an Allow holds, a Deny does not.
    """

    action: str
    resource: str
    principal: Principal
    context: conditions.Context
    resource_account: str = ""
    favoured: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The decision, and what led to it."""

    decision: EvalDecision
    layer: str
    statement: str
    because: str

    @property
    def allowed(self) -> bool:
        return self.decision is EvalDecision.ALLOWED


@dataclass(frozen=True, slots=True)
class _Hit:
    """A statement that applies, and how it names the caller: `exact` its session or user, alone or among
    everybody (`*`); `direct` its role; `delegated` its account."""

    name: str
    how: str = "direct"


def evaluate(
    request: Request,
    *,
    identity: Sequence[Policy] = (),
    resource: Policy | None = None,
    session: Policy | None = None,
    boundaries: Sequence[Policy] = (),
    scps: Levels = (),
    rcps: Levels = (),
    granted: str = "",
) -> Evaluation:
    """Decide a request: explicit deny first, then every layer that has to allow.

    Args:
        identity: the policies of the user or role; with a session, those of its role.
        resource: the role trust policy (sts:AssumeRole…) or the key policy (kms:…) of what is asked for.
        session: the inline policy that the session was made with.
        boundaries: each one has to allow.
        scps: those of the caller's organization; where there are any, one at each level has to allow. A
            policy is of the one level there is, a list is a level of its own (root, unit, account).
        rcps: those of the resource's organization; they only deny:
            RCPFullAWSAccess stands beside them and cannot be taken away.
        granted: the id of a KMS grant that covers the request; it allows as a key policy that names the caller does.

    Returns:
        Allowed and denied are certain. Where the context holds `Unseen` keys and the answer hangs on them, `UNSEEN`.
    """
    layers: dict[str, Any] = {
        "identity": identity,
        "resource": resource,
        "session": session,
        "boundaries": boundaries,
        "scps": scps,
        "rcps": rcps,
        "granted": granted,
    }
    certain = _decided(request, **layers)
    if certain.allowed or not any(isinstance(value, conditions.Unseen) for value in request.context.values()):
        return certain
    favoured = _decided(replace(request, favoured=True), **layers)
    if not favoured.allowed:
        return favoured
    return Evaluation(
        EvalDecision.UNSEEN, certain.layer, certain.statement, "It hangs on what cannot be seen from here."
    )


def _decided(
    request: Request,
    *,
    identity: Sequence[Policy],
    resource: Policy | None,
    session: Policy | None,
    boundaries: Sequence[Policy],
    scps: Levels,
    rcps: Levels,
    granted: str,
) -> Evaluation:
    action, who = request.action.lower(), request.principal
    if action in FREE:
        return Evaluation(EvalDecision.ALLOWED, IDENTITY, "", f"{request.action} needs no permission.")
    trust = action in TRUSTED or action.startswith("sts:assumerole")
    resource_layer = TRUST if trust else RESOURCE
    above = _levels(scps) if who.account and not who.is_service_linked else []
    around = _levels(rcps) if not who.is_service_linked and action != "kms:retiregrant" else []
    layers: list[tuple[str, Sequence[Policy]]] = [
        (RCP, [policy for level in around for policy in level]),
        (SCP, [policy for level in above for policy in level]),
        (resource_layer, [resource] if resource is not None else []),
        (IDENTITY, identity),
        (BOUNDARY, boundaries),
        (SESSION, [session] if session is not None else []),
    ]
    for layer, policies in layers:
        for policy in policies:
            for hit in _hits(policy, "Deny", request, layer, bounded=bool(boundaries)):
                return Evaluation(
                    EvalDecision.EXPLICIT_DENY,
                    layer,
                    hit.name,
                    f"{hit.name} of the {layer} explicitly denies {request.action}.",
                )
    if not all(any(_allows(policy, request, SCP) for policy in level) for level in above):
        return _implicit(SCP, request)
    by_resource = _best(_hits(resource, "Allow", request, resource_layer)) if resource is not None else None
    if granted and (by_resource is None or by_resource.how == "delegated"):
        by_resource = _Hit(f"grant {granted}")
    return _allow(request, resource_layer, by_resource, identity, session, boundaries)


def _levels(policies: Levels) -> list[Sequence[Policy]]:
    """Return the policies of an organization level by level."""
    flat = [policy for policy in policies if isinstance(policy, Mapping)]
    return [*([flat] if flat else []), *(level for level in policies if not isinstance(level, Mapping))]


def _allow(
    request: Request,
    resource_layer: str,
    by_resource: _Hit | None,
    identity: Sequence[Policy],
    session: Policy | None,
    boundaries: Sequence[Policy],
) -> Evaluation:
    """Find the layers that have to allow, in the order in which AWS names the missing one."""
    who, is_kms = request.principal, request.action.lower().startswith("kms:")
    if is_kms and ":alias/aws/" in request.resource:
        return _implicit(RESOURCE, request)  # these aliases are AWS's own (KMS API, CreateAlias)
    same_account = (request.resource_account or account_of(request.resource) or who.account) == who.account
    # Roles and KMS keys always have a policy of their own;
    # aliases and calls about no key (`*`, like kms:ListKeys) have none.
    has_policy = resource_layer == TRUST or (is_kms and request.resource != "*" and ":alias/" not in request.resource)
    if by_resource is None and (has_policy or not same_account or not who.account):
        return _implicit(resource_layer, request)
    if by_resource is not None and (same_account or not who.account):
        allowed = Evaluation(
            EvalDecision.ALLOWED,
            resource_layer,
            by_resource.name,
            f"{by_resource.name} of the {resource_layer} allows {request.action}.",
        )
        # A policy that names the very session or user, or everybody, is narrowed by nothing but a deny (IAM
        # guide, "Resource-based policies and implicit denies in other policy types"); nor is one without an account.
        # One that names the role leaves boundary and session their say.
        if by_resource.how == "exact" or not who.account:
            return allowed
    else:
        allowed = None
    by_identity = next((hit for policy in identity for hit in _hits(policy, "Allow", request, IDENTITY)), None)
    if who.is_root:
        by_identity = _Hit("the account's root user")  # no identity-based policy limits it
    if by_identity is None and (allowed is None or by_resource is None or by_resource.how == "delegated"):
        return _implicit(IDENTITY, request)
    for policy in boundaries:
        if not _allows(policy, request, BOUNDARY):
            return _implicit(BOUNDARY, request)
    if session is not None and not _allows(session, request, SESSION):
        return _implicit(SESSION, request)
    if by_identity is None:
        assert allowed is not None
        return allowed
    words = f"{by_identity.name} of the {IDENTITY} allows {request.action}."
    if by_resource is not None:
        words = f"{words[:-1]}, and so does {by_resource.name} of the {resource_layer}."
    return Evaluation(EvalDecision.ALLOWED, IDENTITY, by_identity.name, words)


def _implicit(layer: str, request: Request) -> Evaluation:
    return Evaluation(EvalDecision.IMPLICIT_DENY, layer, "", f"No {layer} allows {request.action}.")


def _best(hits: Iterator[_Hit]) -> _Hit | None:
    return min(hits, key=lambda hit: ORDER[hit.how], default=None)


def _allows(policy: Policy, request: Request, layer: str) -> bool:
    return any(True for _ in _hits(policy, "Allow", request, layer))


def _hits(policy: Policy, effect: str, request: Request, layer: str, *, bounded: bool = False) -> Iterator[_Hit]:
    """Yield the statements of that effect that apply to the request.

    Args:
        bounded: the caller has a permissions boundary.
    """
    variables = policy.get("Version") == VARIABLES_SINCE
    for number, statement in enumerate(statements(policy), start=1):
        if (
            statement.get("Effect") != effect
            or not _action_matches(statement, request.action)
            or not _resource_matches(statement, request, variables, effect, layer)
        ):
            continue
        how = _principal_matches(statement, request.principal, effect, layer, bounded)
        if how and _condition_holds(statement, request, effect, variables):
            yield _Hit(str(statement.get("Sid") or f"statement {number}"), how)


def _condition_holds(statement: Mapping[str, Any], request: Request, effect: str, variables: bool) -> bool:
    if "Condition" not in statement:
        return True
    condition = statement["Condition"]
    if effect == "Deny" and not conditions.readable(condition):
        return True  # AWS would not have saved it: when in doubt a deny denies
    context = request.context
    if isinstance(context, conditions.Folded):
        met = context.judge(condition, variables=variables)
    else:
        met = conditions.judge(condition, context, variables=variables)
    return _in_doubt(effect, request) if met is None else met


def _in_doubt(effect: str, request: Request) -> bool:
    """Tell whether a statement that hangs on an unseen context key counts as one that applies."""
    return (effect == "Allow") == request.favoured


def statements(policy: Policy) -> list[Mapping[str, Any]]:
    """Return the statements of a policy, also where a single one stands without its list."""
    found = policy.get("Statement", [])
    return [s for s in (found if isinstance(found, list) else [found]) if isinstance(s, Mapping)]


def listed(value: object) -> list[str]:
    """Return a policy element as a list of strings."""
    return [*map(str, value)] if isinstance(value, list | tuple) else [] if value is None else [str(value)]


def account_of(arn: str) -> str:
    found = arns.parts(arn)
    return found.account if found else ""


def _action_matches(statement: Mapping[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(_is_action(name, action) for name in listed(statement["NotAction"]))
    return any(_is_action(name, action) for name in listed(statement.get("Action")))


def _is_action(pattern: str, action: str) -> bool:
    # A pattern that is longer than the name matches nothing: a stranger's may have thousands of characters.
    if len(pattern) - pattern.count("*") > len(action):
        return False
    return conditions.glob(pattern, ignore_case=True).fullmatch(action) is not None


def _resource_matches(statement: Mapping[str, Any], request: Request, variables: bool, effect: str, layer: str) -> bool:
    unseen = _in_doubt(effect, request)
    if "NotResource" in statement:  # a variable without a value leaves out whatever it might have named
        return not _names_resource(
            statement["NotResource"], request, variables, unknown=effect == "Allow", unseen=not unseen
        )
    if "Resource" in statement:
        return _names_resource(statement["Resource"], request, variables, unknown=False, unseen=unseen)
    # A trust policy stands on the role itself. A key policy's statement has no effect without it (KMS API,
    # PutKeyPolicy). Of the others AWS saves none without it: when in doubt a deny denies.
    return layer == TRUST or (effect == "Deny" and layer != RESOURCE)


def _names_resource(value: object, request: Request, variables: bool, *, unknown: bool, unseen: bool) -> bool:
    """Tell whether an element names the resource.

    Args:
        unknown: what counts for a name with a variable that has no value.
        unseen: what counts for a name with a variable whose value cannot be seen.
    """
    texts = listed(value)
    if request.resource in texts:  # our own policies list hundreds of ARNs: they are not to become patterns
        return True
    joined = "\n".join(texts)
    if not ("*" in joined or "?" in joined or "${" in joined):
        return False
    for text in texts:
        if "*" in text or "?" in text or "${" in text:
            made = conditions.pattern(text, request.context, variables=variables)
            if made is None and conditions.hangs_on_unseen(text, request.context):
                matches = unseen
            else:
                matches = unknown if made is None else made.fullmatch(request.resource) is not None
            if matches:
                return True
    return False


ORDER = {"exact": 0, "direct": 1, "delegated": 2, "": 3}


def _principal_matches(statement: Mapping[str, Any], who: Principal, effect: str, layer: str, bounded: bool) -> str:
    """Return how a statement names the caller: "exact", "direct", "delegated", or "" when it does not."""
    if layer not in {TRUST, RESOURCE, RCP}:
        return "direct"  # it is attached to the caller
    if "NotPrincipal" in statement:
        return "" if _spared(statement["NotPrincipal"], who, effect, bounded) else "direct"
    if layer == RCP and "Principal" not in statement:
        return "direct"
    return _named(statement.get("Principal"), who, effect)


def _spared(principal: object, who: Principal, effect: str, bounded: bool) -> bool:
    """Tell whether NotPrincipal leaves the caller out.

    A deny spares only whom it names whole: the account, the role or user, and the session too (IAM guide,
    "NotPrincipal": AWS may look at the account first, then the role, then the session); it spares nobody who has a
    permissions boundary (IAM guide, "Permissions boundaries"). An allow leaves out whoever is named in any way.
    """
    if effect == "Allow" or principal == "*" or not isinstance(principal, Mapping) or not who.account:
        return bool(_named(principal, who, effect))
    names = set(listed(principal.get("AWS")))
    if bounded and "*" not in names:
        return False
    account = {who.account, f"arn:aws:iam::{who.account}:root"}
    needed = [account, {who.role_arn or who.arn, who.unique_id or who.arn}]
    if who.role_arn and who.role_arn != who.arn:
        needed.append({who.arn})
    return "*" in names or all(names & each for each in needed)


def _named(principal: object, who: Principal, effect: str) -> str:
    if principal == "*":
        return "exact"
    named = principal if isinstance(principal, Mapping) else {"AWS": principal}
    aws = listed(named.get("AWS"))
    if who.account:
        return min((_how(name, who, effect) for name in aws), key=ORDER.__getitem__, default="")
    vouched = [(who.service, "Service"), (who.federated, "Federated")]
    return "exact" if "*" in aws or any(name and name in listed(named.get(kind)) for name, kind in vouched) else ""


def _how(name: str, who: Principal, effect: str) -> str:
    if name == "*":
        return "exact"
    if who.role_arn and (name == who.role_arn or name == who.unique_id or _is_role_of(name, who)):
        return "direct"
    if name == who.arn or (name and name == who.unique_id):
        # The root user is its account: it is told apart by nothing.
        return "delegated" if name.endswith(":root") and effect == "Allow" else "exact"
    if name == who.account or (name.startswith("arn:") and name.endswith(f":iam::{who.account}:root")):
        return "delegated" if effect == "Allow" else "direct"
    return ""


def _is_role_of(name: str, who: Principal) -> bool:
    """Tell whether a role's ARN with a path is that of a session whose role's path is not known:
    role names are unique."""
    prefix, _, rest = who.role_arn.partition(":role/")
    return who.any_path and name.startswith(f"{prefix}:role/") and name.rpartition("/")[2] == rest
