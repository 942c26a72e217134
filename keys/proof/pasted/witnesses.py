"""Calls that show how wide a policy is: what somebody can make of a request of their own is made so that it fits; pure.

A policy is too wide when the evaluator lets such a call through, with every Deny of the policy in force. Who may set
what: IAM guide, "AWS global condition context keys" (a caller's tags, session name and MFA are their own account's
doing; account, organization and network are not).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from byokportal.translation import translate as _
from keys import arns
from keys.policies import conditions
from keys.policies.evaluator import Principal, Request
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Policy, shown

# What a stranger sets in their own account or request.
OWN_KEYS = {
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principaltype",
    "aws:referer",
    "aws:sourceidentity",
    "aws:tagkeys",
    "aws:useragent",
    "aws:username",
    "aws:vpcsourceip",
    "kms:encryptionalgorithm",
    "kms:encryptioncontextkeys",
    "kms:grantisforawsresource",
    "kms:requestalias",
    "kms:viaservice",
    "sts:rolesessionname",
    "sts:sourceidentity",
    "sts:transitivetagkeys",
}
OWN_PREFIXES = ("aws:principaltag/", "aws:requesttag/", "kms:encryptioncontext:")
# What the customer's own account says of key or role: the policy was written for one that fits.
THEIRS = {"aws:resourceorgid", "aws:resourceorgpaths", "kms:keyorigin", "kms:resourcealiases", "kms:multiregionkeytype"}
THEIR_PREFIXES = ("aws:resourcetag/", "iam:resourcetag/", "kms:resourcetag/")
# What we could do otherwise than we do.
OF_OURS = {"sts:rolesessionname"}
MOST_STRANGERS = 4


def strangers(policy: Policy) -> list[Principal]:
    """Return principals of accounts that nobody named: a user, a role, and those that a pattern of names is met by."""
    found = [trial_requests.STRANGER, trial_requests.STRANGER_ROLE]
    for _path, statement in trial_requests.statements(policy):
        condition = statement.get("Condition")
        for operator, keys in condition.items() if isinstance(condition, dict) else ():
            if "not" in str(operator).lower() or len(found) >= MOST_STRANGERS:
                continue
            for key, wanted in keys.items() if isinstance(keys, dict) else ():
                if str(key).lower() == "aws:principalarn":
                    found += filter(None, (_like(text) for text in conditions.texts(wanted)[:2]))
    return found[:MOST_STRANGERS]


def _like(pattern: str) -> Principal | None:
    """Return a stranger whose ARN meets a pattern, None when its account part leaves strangers out."""
    account, parts = trial_requests.STRANGER_ROLE.account, arns.parts(pattern)
    if parts is None:  # `*` and `*/name` span the account too
        if not pattern.startswith("*"):
            return None
        resource = f"role/{_filled(pattern.rpartition('/')[2].lstrip('*')) or 'x'}"
    elif not conditions.glob(parts.account).fullmatch(account):
        return None
    else:
        resource = _filled(parts.resource)
    if resource.startswith("role/"):
        return trial_requests.tenant_role(f"arn:aws:iam::{account}:{resource}")
    return Principal(f"arn:aws:iam::{account}:{resource}", account, "AIDASTRANGER")


def _filled(pattern: str) -> str:
    return pattern.replace("*", "x").replace("?", "x")


def fitting(policy: Policy, statement: Mapping[str, Any], request: Request, *, ours: bool = False) -> Request:
    """Return a call whose own values are those that an Allow asks for and that no Deny is about.

    Args:
        ours: our role calls; it sets fewer of them than a stranger.
    """
    more: dict[str, str | list[str]] = {}
    for key, operator, wanted in _asked(statement):
        if key not in more and _is_free(key, ours) and (value := _meeting(operator, wanted)):
            more[key] = value
    for _path, each in trial_requests.statements(policy):
        if each.get("Effect") == "Deny":
            for key, operator, wanted in _asked(each):
                if key not in more and _is_free(key, ours) and (value := _missing(operator, wanted)):
                    more[key] = value
    if "kms:viaservice" in more:
        more["aws:viaawsservice"] = "true"
    return trial_requests.carrying(request, more) if more else request


def _asked(statement: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    condition = statement.get("Condition")
    for operator, keys in condition.items() if isinstance(condition, Mapping) else ():
        for key, wanted in keys.items() if isinstance(keys, Mapping) else ():
            yield (
                str(key).lower(),
                str(operator).lower().rpartition(":")[2].removesuffix("ifexists"),
                conditions.texts(wanted),
            )


def _is_free(key: str, ours: bool) -> bool:
    if key in THEIRS or key.startswith(THEIR_PREFIXES):
        return True
    return key in OF_OURS if ours else key in OWN_KEYS or key.startswith(OWN_PREFIXES)


def _meeting(operator: str, wanted: list[str]) -> str | list[str]:
    """Return a value that meets a condition; "" for none, or where one without any value does."""
    first = next((each for each in wanted if "${" not in each), "")
    if operator == "null":
        return "x" if first.lower() == "false" else ""
    if "not" in operator or not first:
        return ""
    if operator == "ipaddress":
        return _inside(first)
    if operator.startswith("numeric") and conditions.NUMBER.fullmatch(first):
        return str(int(float(first)) + (1 if "greater" in operator else -1 if operator == "numericlessthan" else 0))
    return _filled(first)


def _missing(operator: str, wanted: list[str]) -> str | list[str]:
    """Return a value that a Deny's condition does not cover; "" where one without any value is spared as well."""
    first = next((each for each in wanted if "${" not in each), "")
    if operator == "bool":
        return "true" if first.lower() == "false" else "false"
    if operator == "null":
        return "x" if first.lower() == "true" else ""
    if operator == "notipaddress":
        return _inside(first)
    return _filled(first) if "not" in operator else ""


def _inside(network: str) -> str:
    try:
        return str(ipaddress.ip_network(network, strict=False).network_address)
    except ValueError:
        return ""


def resource_of(pattern: str) -> str:
    """Return a resource that a pattern of a Resource element names."""
    return _filled(pattern)


def described(request: Request) -> str:
    """Return who calls what on which resource, as a finding names a call that is let through."""
    who = request.principal
    name = who.role_arn or who.arn or who.service or who.federated or "anybody"
    return _(
        "%(name)s may call %(action)s on %(resource)s",
        name=shown(name, most=120),
        action=request.action,
        resource=shown(request.resource, most=120),
    )
