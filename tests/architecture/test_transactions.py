"""Every transaction of an operation or an engine begins in one place (`tenants.transactions`):
the tenant first, a deadlock tried once more."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Where `django.db.transaction.atomic` may stand, and why it needs no lock of a tenant and no second attempt.
PLAIN = {
    "tenants/transactions.py": "the one place",
    "tenants/idempotency.py": "the insert of one row, which fails where another request has it",
    "tenants/services/service_roles.py": "before there is a tenant",
    "tenants/management/commands/create_tenant.py": "several operations or none; nobody knows the tenant yet",
    "support/management/commands/demonstration_data.py": "the same",
    "support/seeding.py": "invented tenants that nobody knows yet",
    "support/services/inbound_mails.py": "a savepoint for an answer that is refused, and for one row of a delivery",
    "keys/datakeys/admission.py": "one row of ours about the database itself",
    "keys/branchkeys.py": "one INSERT",
    "byokportal/postgresql/partitions.py": "a table of all tenants is changed, by its owner, with attempts of its own",
    "keys/services/drift.py": "a savepoint for the one open resolution",
    "keys/services/closing.py": "savepoints for the one closing of an organisation, and for a receipt that is there",
    "keys/activation.py": "a savepoint for a unique claim",
    "keys/health/blame.py": "a savepoint for the one open incident",
    "keys/health/sweeping.py": "takes only rows that nobody holds",
    "keys/datakeys/ledger/links.py": "one INSERT",
    "keys/datakeys/snapshots.py": "what one process says of itself; the next look comes again",
}


def test_transactions_begin_where_the_tenant_is_locked_first() -> None:
    found: dict[str, int] = {}
    for app in ("byokportal", "tenants", "keys", "support"):
        for file in sorted((ROOT / app).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if "migrations" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Attribute) and ast.unparse(node) == "transaction.atomic":
                    found[name] = node.lineno
    wrong = {f"{name}:{line}" for name, line in found.items() if name not in PLAIN}
    assert not wrong, "write @transactions.atomic of tenants.transactions, with the tenant or an object of its first"
    assert set(PLAIN) == set(found), "a file that no longer has one needs no line here"


def test_what_follows_a_commit_cannot_undo_it() -> None:
    """A function that fails after the commit would look like a failed transaction, and be tried again."""
    for app in ("byokportal", "tenants", "keys", "support"):
        for file in sorted((ROOT / app).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("on_commit"):
                    assert any(word.arg == "robust" for word in node.keywords), f"{file}:{node.lineno}"
