"""What a call of ours carries, condition key by condition key: known, never there, or not to be seen from here; pure.

Sources: IAM guide, "AWS global condition context keys"
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html, its table of keys and the
"Availability" of each); KMS guide, "AWS KMS condition keys"
(https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from keys.policies import conditions
from keys.policies.conditions import Unseen
from keys.proof.pasted.findings import Policy

# Who calls: the tenant's role, as which we come to the key; or our service role, which takes that one.
Caller = Literal["their role", "our role"]
MOST_KEYS = 150  # different condition keys of a policy that are looked up
ANYTHING = Unseen()
# In some requests of ours perhaps, and never with a value of the customer's: an endpoint or network of our own.
NOT_THEIRS = Unseen((None, ("not-yours",)))
NOT_THEIR_ADDRESS = Unseen((None, ("192.0.2.20",)))
NOT_THEIR_ACCOUNT = Unseen((None, ("000000000007",)))

NETWORK = {
    "aws:sourcevpc": NOT_THEIRS,
    "aws:sourcevpcarn": Unseen((None, ("arn:aws:ec2:us-east-1:000000000007:vpc/not-yours",))),
    "aws:sourcevpce": NOT_THEIRS,
    "aws:vpceaccount": NOT_THEIR_ACCOUNT,
    "aws:vpceorgid": NOT_THEIRS,
    "aws:vpceorgpaths": NOT_THEIRS,
    "aws:vpcsourceip": NOT_THEIR_ADDRESS,
    "aws:ec2instancesourcevpc": NOT_THEIRS,
    "aws:ec2instancesourceprivateipv4": NOT_THEIR_ADDRESS,
}
ORGANIZATION = ("aws:principalorgid", "aws:principalorgpaths")
# Global keys that none of our calls carries: they belong to services that call for somebody, to federation, to
# a change of tags, to users, to AWS's own tools.
ABSENT = {
    "aws:assumedroot",
    "aws:calledvia",
    "aws:calledviaawsmcp",
    "aws:calledviafirst",
    "aws:calledvialast",
    "aws:chatbotsourcearn",
    "aws:externalid",  # there is none: it is sts:ExternalId
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:referer",
    "aws:signinsessionarn",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:tagkeys",
    "aws:username",
}
ABSENT_TAGS = ("aws:requesttag/",)
# What the customer's account says of the key or of the role that is asked for.
OF_THE_RESOURCE = (
    "aws:resourceorgid",
    "aws:resourceorgpaths",
    "kms:keyorigin",
    "kms:multiregionkeytype",
    "kms:primaryregion",
    "kms:resourcealiases",
)
RESOURCE_TAGS = ("aws:resourcetag/", "iam:resourcetag/", "kms:resourcetag/")
PRINCIPAL_TAGS = "aws:principaltag/"


def unseen(policy: Policy, known: Mapping[str, Any], caller: Caller) -> dict[str, Unseen]:
    """Return the condition keys of a policy whose value in our calls cannot be seen, each as the policy writes it.

    Args:
        known: the context of our call, its names in small letters; what it holds is seen.
    """
    found: dict[str, Unseen] = {}
    for name in named(policy):
        if name in found or name.lower() in known:
            continue
        value = _unseen(name.lower(), caller)
        if value is not None:
            found[name] = value
            if len(found) > MOST_KEYS:
                break
    return found


def _unseen(name: str, caller: Caller) -> Unseen | None:
    """Return what is not known of a key, None for one that our calls certainly do not carry."""
    if name in NETWORK:
        return NETWORK[name]
    if name in ORGANIZATION:
        return ANYTHING if caller == "their role" else NOT_THEIRS
    if name.startswith(PRINCIPAL_TAGS):
        # our service role has no tags, and passes none on
        return ANYTHING if caller == "their role" else None
    if name in OF_THE_RESOURCE or name.startswith(RESOURCE_TAGS):
        return ANYTHING
    if name.startswith("aws:") and name not in ABSENT and not name.startswith(ABSENT_TAGS):
        return ANYTHING  # AWS adds global keys: one that we do not know is not seen
    return None


def named(policy: Policy) -> Iterator[str]:
    """Yield the condition keys of a policy, in conditions and as policy variables, some twice."""
    found = policy.get("Statement")
    for statement in found if isinstance(found, list) else [found]:
        if not isinstance(statement, dict):
            continue
        condition = statement.get("Condition")
        for keys in condition.values() if isinstance(condition, dict) else ():
            for key, wanted in keys.items() if isinstance(keys, dict) else ():
                yield str(key)
                yield from _variables(wanted)
        for element in ("Resource", "NotResource"):
            yield from _variables(statement.get(element))


def _variables(value: object) -> Iterator[str]:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and "${" in text:
            for inside in conditions.VARIABLE.findall(text):
                name = inside.partition(",")[0].strip()
                if ":" in name:
                    yield name
