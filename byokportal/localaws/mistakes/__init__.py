"""Every mistake that the customer's engineer can make in steps 1 to 3 of the guide:
what each does, in words and in AWS calls; pure."""

from __future__ import annotations

from byokportal.localaws.mistakes import key, key_policy, permissions_policy, trust_policy
from byokportal.localaws.mistakes.definition import Mistake

MISTAKES: dict[str, Mistake] = {
    **key.KEY,
    **trust_policy.WIDE,
    **trust_policy.CLOSED,
    **permissions_policy.PERMISSIONS,
    **key_policy.KEY_POLICY,
}
