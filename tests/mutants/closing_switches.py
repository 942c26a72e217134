"""The switches of closing an organisation: when it may be, what is destroyed, what may say so after a restore."""

from __future__ import annotations

from tests.mutants.switch import Switch

ENGINE, TESTS = "keys/closing/", "tests/keys/test_closing.py"

SWITCHES = [
    Switch(
        "an organisation is not closed while its key serves",
        ENGINE + "blockers.py",
        '    Status.ACTIVE: "The key {key} serves. Its owner gives it up first, or it is suspended.",\n',
        "",
        TESTS,
    ),
    Switch(
        "an organisation is not closed while services use its keys",
        ENGINE + "blockers.py",
        "    if last is not None:\n",
        "    if last is not None and not tenant.pk:\n",
        TESTS,
    ),
    Switch(
        "what was approved is looked at again before anything is destroyed",
        "keys/services/closing.py",
        "    if not is_again:\n        _require_nothing_serves(tenant)\n",
        "",
        TESTS,
    ),
    Switch(
        "nothing is destroyed before a receipt for it can be signed",
        "keys/services/closing.py",
        "else lambda: None)\n    receipts.require_signable()\n",
        "else lambda: None)\n",
        TESTS,
    ),
    Switch(
        "a worker whose claim another one has stops exporting",
        "keys/models/jobs.py",
        "        if not self.rows.filter(pk=self.pk, claimed_at=self.at).update(claimed_at=at):\n",
        "        if not self.rows.filter(pk=self.pk).update(claimed_at=at):\n",
        TESTS,
    ),
    Switch(
        "two leads who did not let each other in close an organisation",
        "keys/services/closing.py",
        'if closing.asked is None or not tenant_services.is_second_lead(closing.asked, actor, "keys.close_tenant"):',
        "if closing.asked is None:",
        TESTS,
    ),
    Switch(
        "earlier wrappings are destroyed too",
        ENGINE + "destroying.py",
        "    BranchKeyWrapping.objects.filter(tenant=tenant).delete()\n    BranchKey.objects.of(tenant).delete()\n",
        '    BranchKey.objects.of(tenant).update(wrapped=b"")\n',
        TESTS,
    ),
    Switch(
        "a closed organisation gets no data key of the platform's",
        "keys/datakeys/tenant_snapshot.py",
        ".filter(pk=tenant, closed_at=None)",
        ".filter(pk=tenant)",
        TESTS,
    ),
    Switch(
        "a service account does not find a closed organisation",
        "tenants/access.py",
        "return Tenant.objects.filter(Q(Exists(has_all)) | Q(Exists(named)), closed_at=None)",
        "return Tenant.objects.filter(Q(Exists(has_all)) | Q(Exists(named)))",
        TESTS,
    ),
    Switch(
        "nothing is done for a closed organisation",
        "tenants/roles.py",
        "if tenant is not None and operation not in OF_CLOSED and transactions.is_closed(tenant):",
        "if False:",
        TESTS,
    ),
    Switch(
        "a receipt counts only as its key signed it",
        ENGINE + "receipts.py",
        "    if not head_signing.verifies(public, signature, text):\n",
        "    if False:\n",
        TESTS,
    ),
    Switch(
        "the second receipt waits until our policies let go",
        ENGINE + "destroying.py",
        'return sorted((arns & named) - set(others.values_list("role_arn", flat=True)))',
        "return []",
        TESTS,
    ),
    Switch(
        "the second receipt waits while a copy is left in the bucket",
        ENGINE + "receipts.py",
        "    if copies.left:\n",
        "    if copies.left and not copies.bucket:\n",
        TESTS,
    ),
    Switch(
        "a restored database closes again what a receipt says was closed",
        "keys/services/restoring.py",
        "for pk in sorted({str(pk) for pk in published} | proved):",
        "for pk in sorted(proved):",
        TESTS,
    ),
    Switch(
        "a line that only a file has destroys nothing",
        "keys/services/restoring.py",
        'if line.name == "tenants.tenant.closed" and line.is_here}',
        'if line.name == "tenants.tenant.closed"}',
        TESTS,
    ),
    Switch(
        "copies bring nothing back of a closed organisation",
        "keys/services/escrow.py",
        "if tenant_id in closed or (tenant is not None and tenant.closed_at is not None):",
        "if False:",
        TESTS,
    ),
]
