"""Every address that is mounted, and what a POST to it takes: the map that tests walk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

RECORDED = Path(__file__).parent / "architecture" / "who_may.json"


@dataclass(frozen=True)
class Address:
    """One address: its route, its name with the namespace (`portal:key`), and its view."""

    route: str
    name: str
    view: Any


def addresses(patterns: Any = None, route: str = "", space: str = "") -> Iterator[Address]:
    for pattern in patterns if patterns is not None else get_resolver().url_patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            within = f"{pattern.namespace}:" if pattern.namespace else space
            yield from addresses(pattern.url_patterns, here, within)
        elif isinstance(pattern, URLPattern):
            yield Address(here, f"{space}{pattern.name}", pattern.callback)


def is_page(address: Address) -> bool:
    """Tell whether anybody gets something by GET there, as `who_may.json` records it: else it is a button's."""
    line = _recorded()[f"GET {address.route}"]
    return bool(line.keys() - {"no such method", "signs in"})


@cache
def _recorded() -> dict[str, Any]:
    return dict(json.loads(RECORDED.read_text()))


REASON = {"reason": "because"}
# What an address takes that takes more, or less, than a reason: by its name, with the namespace where the two differ.
BODIES: dict[str, dict[str, Any]] = {
    "invitations": {"email": "new@acme.example", "role": "auditor"},
    "members": {"email": "new@acme.example", "role": "auditor"},
    "domains": {"name": "new.example"},
    "head-recipients": {"email": "new@audit.example"},
    "log-seal": {"email": "new@audit.example"},
    "add-domain": {"name": "new.example"},
    "api-sign-on": {"client_id": "c", "issuer": "https://login.acme.example", "reason": "r"},
    "api-sign-on-mode": {"mode": "draft"},
    "sign-on-mode": {"mode": "draft"},
    "change-role": {"role": "auditor"},
    "directory": {"default_role": "auditor"},
    "api-directory": {"default_role": "", "reason": "r"},
    "make-directory-token": {"days": 30},
    "revoke-directory-token": {},
    "directory-token": {},
    "directory-group-role": {"role": "auditor"},
    "api-directory-group-role": {"role": "auditor"},
    "api:member": {"role": "auditor"},
    "tokens": {"name": "t", "permissions": ["read"], "days": 30},
    "portal:leave": {**REASON, "sure": "on"},
    "forget-member": {**REASON, "sure": "on"},
    "confirm-restore": {"digest": "0" * 64, "sure": "on"},
    "end-horizon": {**REASON, "accepts_loss": True},
    "latency": {"seconds": 60},
    "tickets": {"topic": "question", "subject": "s", "text": "t"},
    "ticket": {"text": "t"},
    "ticket-messages": {"text": "t"},
    "mails": {"kinds": ["key"]},
    "portal:language": {"language": "de"},
    "webhooks": {
        "format": "standard",
        "address": "https://hooks.acme.example/",
        "description": "d",
        "kinds": ["key"],
    },
    "webhook": {"description": "d", "kinds": ["key"]},
    "rotate-webhook": {"hours": 24},
    "replay-webhook": {"days": 1},
    "replay-failed": {"since": "2026-01-01T00:00:00Z"},
    "log-streams": {
        "format": "webhook",
        "address": "https://siem.acme.example/",
        "description": "d",
    },
    "portal:log-streams": {
        "format": "webhook",
        "address": "https://siem.acme.example/",
        "description": "d",
        "from_the_beginning": "yes",
    },
    "log-stream": {"description": "d"},
    "rotate-log-stream": {"hours": 24},
    "replay-log-stream": {"number": 1},
    "policy-checks": {"kind": "trust", "policy": "{}"},
    "reconciliations": {"Records": []},
    "check-policy": {"kind": "trust", "policy": "{}"},
    "check-output": {"output": "{}"},
    "registration": {"role_arn": "arn:aws:iam::111122223333:role/Another"},
    "outputs": {"outputs": "arn:aws:iam::111122223333:role/R"},
    "document-choices": {},
    "portal:links": {"name": "Cloud platform", "days": 30},
    "confirm-proposal": {},
    "refuse-proposal": {},
    "step": {"key_arn": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"},
    "submit": {},
    "tests": {},
    "activation": {"activation": "when_tested"},
    "activate": {},
    "drills": {},
    "cancel-drill": {},
    "api:resend-invitation": {},
    "answer_explained": {"text": "t", "to": "Acme Bank"},
    "inbound-mail": {},
    "fleet_save_view": {"name": "mine", "query": "step=2"},
    "fleet_remove_view": {},
    "tenants_tenant_explain": {"text": "AccessDenied"},
}


def body_of(name: str) -> dict[str, Any]:
    """Return a body with which an address gets as far as the question who may, and does what it is for."""
    return BODIES.get(name, BODIES.get(name.rpartition(":")[2], REASON))
