"""ARNs that AWS takes in no policy of this partition, and keys that we could not take either; pure."""

from __future__ import annotations

from collections.abc import Iterator

from byokportal.translation import translate as _
from keys import arns
from keys.arns import KeyArn
from keys.errors import ArnRefused
from keys.policies import evaluator
from keys.proof.pasted import trial_requests
from keys.proof.pasted.findings import Note, Path, Policy, Values, shown

MOST = 10  # notes of a policy


def notes(policy: Policy, values: Values) -> Iterator[Note]:
    """Yield what names another partition than our service role's, and keys that are refused
    when their ARN is given (step 1)."""
    ours = values.access.service_role.partition
    seen = set[str]()
    for path, name in _named(policy):
        found = arns.parts(name)
        partition = found.partition if found and found.prefix == "arn" else ours
        if name in seen or len(seen) >= MOST:
            continue
        if partition not in {ours, "*", ""} and not any(sign in partition for sign in "*?$<"):
            seen.add(name)
            yield Note(
                "other_partition",
                "error",
                path,
                _(
                    "%(name)s is in AWS's partition %(partition)s, and Kore.ai's service role is in %(ours)s. "
                    "AWS lets nothing cross from one partition to another, and refuses to save a policy that "
                    "names both.",
                    name=shown(name, most=120),
                    partition=shown(partition, most=20),
                    ours=ours,
                ),
                _("Create role and key in an AWS account of the partition %(ours)s, and name those.", ours=ours),
            )
        elif ":kms:" in name and values.rules is not None and (why := _refused(name, values)):
            seen.add(name)
            yield Note(
                "arn_refused", "warning", path, f"{shown(name, most=120)}: {why}", _("Give another key in step 1.")
            )


def _named(policy: Policy) -> Iterator[tuple[Path, str]]:
    for path, statement in trial_requests.statements(policy):
        for name in trial_requests.principals(statement):
            yield (*path, "Principal"), name
        for element in ("Resource", "NotResource"):
            for name in evaluator.listed(statement.get(element)):
                yield (*path, element), name


def _refused(name: str, values: Values) -> str:
    """Return why a key of the right form would be refused; "" when it would not, or is none."""
    try:
        key = KeyArn.parse(name)
    except ArnRefused:
        return ""
    assert values.rules is not None
    try:
        values.rules.judge(key)
    except ArnRefused as error:
        return str(error)
    return ""
