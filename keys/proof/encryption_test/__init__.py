"""The encryption test; this list is the setup guide, executable (design.md 5)."""

from __future__ import annotations

from keys.proof.encryption_test.checks import external_id, hygiene, key, ours, role, use

CHECKS = (
    ours.identity, ours.canary, ours.policy,                                     # guide: step 5
    role.assumable,                                                              # guide: step 2
    external_id.required, external_id.exact,                                     # guide: step 2, refused without it and with a wrong one
    role.refuses_others,                                                         # … and nobody else
    role.identity,                                                               # whom we became
    key.exists, key.enabled, key.customer_managed, key.symmetric, key.region_and_account,  # guide: step 1
    use.describe, use.generate_data_key, use.generate_data_key_without_plaintext,  # guide: steps 2 and 3, the five patterns
    use.encrypt, use.decrypt, use.re_encrypt, use.context_is_bound,
    hygiene.rotation, hygiene.accounts, hygiene.permissions, hygiene.key_policy,                                       # warnings
)  # fmt: skip
