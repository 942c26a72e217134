"""The encryption test; this list is the setup guide, executable (design.md 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from keys import actions
from keys.proof.encryption_test.base import Check
from keys.proof.encryption_test.checks import external_id, hygiene, key, ours, role, use

CHECKS = (
    # guide: step 5
    ours.identity,
    ours.canary,
    ours.policy,
    role.assumable,  # guide: step 2
    # guide: step 2, refused without it and with a wrong one
    external_id.required,
    external_id.exact,
    role.refuses_others,  # … and nobody else
    role.identity,  # whom we became
    # guide: step 1
    key.exists,
    key.enabled,
    key.customer_managed,
    key.symmetric,
    key.region_and_account,
    # guide: steps 2 and 3, the five patterns; a narrower variant leaves some out
    use.describe,
    use.generate_data_key,
    use.generate_data_key_without_plaintext,
    use.encrypt,
    use.decrypt,
    use.re_encrypt,
    use.context_is_bound,
    # warnings
    hygiene.rotation,
    hygiene.accounts,
    hygiene.permissions,
    hygiene.key_policy,
)


def asked(allowed: Sequence[str], *, found: Collection[str] = ()) -> tuple[Check, ...]:
    """Return the checks of a test.

    Args:
        allowed: what the tenant's documents allow us (`keys.actions`); what they leave out is not tried.
        found: codes of checks that are in, whatever is allowed: a test that has a result of one has asked it.
    """
    names = {action for _, action in actions.members(allowed)}
    left_out = {code for code, action in use.TRIES.items() if action not in names and code not in found}
    return tuple(each for each in CHECKS if each.code not in left_out)
