"""IAM takes no document that names a certain role:
find that role, so that one tenant is taken out and never its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keys import errors

Takes = Callable[[Sequence[str]], bool]


def to_blame(present: set[str], added: str | None, takes: Takes) -> set[str]:
    """Return the role ARNs that IAM does not take, of a document that it refused.

    Args:
        present: what the document names since before.
        added: the role that was to be named now; None where one was to be taken out.
        takes: asks IAM whether it would take a document that names these roles.

    Raises:
        RoleRefusedByIam: it is the role that was to be added.
        PolicyRefused: it is no role: IAM takes our document with none in it neither, or each of them by itself.
    """
    if not takes([]):
        raise errors.PolicyRefused(aws_code="any document", action="iam:CreatePolicyVersion")
    if added is not None and not takes([added]):
        raise errors.RoleRefusedByIam
    found = _search(sorted(present), takes)
    if not found:
        raise errors.PolicyRefused(aws_code="the document as a whole", action="iam:CreatePolicyVersion")
    return found


def _search(role_arns: Sequence[str], takes: Takes) -> set[str]:
    """Halve until each refused role stands alone."""
    if not role_arns or takes(role_arns):
        return set()
    if len(role_arns) == 1:
        return set(role_arns)
    middle = len(role_arns) // 2
    return _search(role_arns[:middle], takes) | _search(role_arns[middle:], takes)
