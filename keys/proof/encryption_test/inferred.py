"""What stands in the customer's document now, as far as AWS's answers tell:
the guide's document with the least change; pure.

Where several changes of different documents would answer alike, nothing is said:
a guess would send people to the wrong line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keys.policies import documents
from keys.proof.encryption_test.facts import Subject


def trust(
    subject: Subject, *, external_id: str = "", condition: dict[str, Any] | None = None, principal: object = None
) -> str:
    """Return the guide's trust policy with another External ID, condition or principal.

    Args:
        condition: {} means that there is none.
    """
    policy = documents.trust_policy(str(subject.access.service_role), external_id or subject.access.external_id)
    statement = policy["Statement"][0]
    if principal is not None:
        statement["Principal"] = principal
    if condition is not None:
        del statement["Condition"]
        statement |= {"Condition": condition} if condition else {}
    return documents.render(policy)


def wide_trust(subject: Subject, *, without: bool, wrong: bool) -> str:
    """Return the trust policy that lets us in without the External ID, with a wrong one, or both."""
    if without and wrong:
        return trust(subject, condition={})
    if wrong:
        return trust(subject, condition={"StringLike": {"sts:ExternalId": "*"}})
    return trust(subject, condition={"StringEqualsIfExists": {"sts:ExternalId": subject.access.external_id}})


def permissions(subject: Subject, missing: Iterable[str]) -> str:
    """Return the guide's permissions policy without some of its patterns."""
    policy = documents.permissions_policy(str(subject.key), subject.beside.keys, subject.access.actions)
    return _without(policy, policy["Statement"][0], missing)


def key_statement(subject: Subject, missing: Iterable[str]) -> str:
    """Return the guide's key policy statement without some of its patterns."""
    statement = documents.key_policy_statement(str(subject.role), subject.beside.roles, subject.access.actions)
    return _without(statement, statement, missing)


def _without(document: dict[str, Any], statement: dict[str, Any], missing: Iterable[str]) -> str:
    gone = set(missing)
    statement["Action"] = [pattern for pattern in statement["Action"] if pattern not in gone]
    return documents.render(document) if statement["Action"] else ""
