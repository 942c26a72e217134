"""What the customer pastes: which documents there are, and how each is made of the tenant's own values; pure."""

from __future__ import annotations

from collections.abc import Callable

from keys.access import Access
from keys.policies import cli_script, cloudformation, terraform
from keys.policies.choices import DEFAULT, Choices
from keys.policies.guide import (
    ACTIONS,
    ALONE,
    POLICY_NAME,
    ROLE_NAME,
    Beside,
    Document,
    key_policy_statement,
    permissions_policy,
    render,
    session_policy,
    trust_policy,
)
from keys.policies.values import Values

__all__ = [
    "ACTIONS",
    "ALONE",
    "FILES",
    "NAMES",
    "POLICY_NAME",
    "ROLE_NAME",
    "SCRIPTS",
    "Beside",
    "Document",
    "key_policy_statement",
    "needs",
    "of",
    "permissions_policy",
    "render",
    "session_policy",
    "trust_policy",
]

SCRIPTS: dict[str, Callable[[Values], str]] = {
    "cloudformation": cloudformation.template,
    "terraform": terraform.module,
    "cli": cli_script.script,
}
# Name in the API and portal → the ARNs it cannot do without.
NAMES: dict[str, tuple[str, ...]] = {
    "trust-policy": (),
    "permissions-policy": ("key_arn",),
    "key-policy-statement": ("role_arn",),
    "cloudformation": ("key_arn",),
    "terraform": ("key_arn",),
    "cli": ("key_arn",),
}
# Name → that of the file that is downloaded.
FILES = {
    "trust-policy": "trust-policy.json",
    "permissions-policy": "permissions-policy.json",
    "key-policy-statement": "key-policy-statement.json",
    "cloudformation": "byok-access.json",
    "terraform": "byok.tf",
    "cli": "byok-access.sh",
}


def needs(name: str, choices: Choices) -> tuple[str, ...]:
    """Return the ARNs that a document of `NAMES` cannot do without; one that makes the key needs none."""
    return () if choices.makes_key and name in SCRIPTS else NAMES[name]


def of(name: str, access: Access, *, beside: Beside = ALONE, choices: Choices = DEFAULT) -> str:
    """Return the raw text of one document of `NAMES`; the ARNs that it needs must be there."""
    match name:
        case "trust-policy":
            return render(trust_policy(str(access.service_role), access.external_id))
        case "permissions-policy":
            return render(permissions_policy(str(access.key), beside.keys, access.actions))
        case "key-policy-statement":
            return render(key_policy_statement(str(access.role), beside.roles, access.actions))
    return SCRIPTS[name](Values(access, beside, choices))
