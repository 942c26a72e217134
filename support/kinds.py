"""The kinds of what happens: by them members choose their mails, and an organisation what a webhook gets."""

from __future__ import annotations

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy

from byokportal.translation import lazy

# Kind → what people call it, and what belongs to it.
KINDS = {
    "key": (
        lazy("Your key"),
        lazy("in service, refused, not to be asked, back again; old keys that are still needed; drills"),
    ),
    "setup": (lazy("Set-up and tests"), lazy("ARNs that are shared, the encryption test, our side's configuration")),
    "people": (lazy("People and access"), lazy("who comes, goes or gets another role; tokens, webhooks, recoveries")),
    "sign_on": (lazy("Sign-on"), lazy("your directory and your mail domains")),
    "approvals": (lazy("Second person"), lazy("what waits for a second person, and what became of it")),
    "tickets": (lazy("Tickets"), lazy("what you and Kore.ai support write to each other")),
}
CHOICES = [
    (kind, format_lazy("{}: {}", gettext_lazy(name), gettext_lazy(what))) for kind, (name, what) in KINDS.items()
]

# The longest beginning of an event's name that stands here decides; each app has one, so every event has a kind.
BEGINNINGS = {
    "keys.": "key",
    "keys.arns.": "setup",
    "keys.configuration.": "setup",
    "keys.documents.": "setup",
    "keys.link.": "setup",
    "keys.registration.": "setup",
    "keys.registration.activated": "key",
    "keys.registration.horizon_ended": "key",
    "keys.registration.kept": "key",
    "keys.test.": "setup",
    "tenants.": "people",
    "tenants.step.": "setup",
    "tenants.directory.": "sign_on",
    "tenants.directory.no_owner_left": "people",
    "tenants.domain.": "sign_on",
    "tenants.sign_on.": "sign_on",
    "tenants.approval.": "approvals",
    "tenants.second_person.": "approvals",
    "support.": "tickets",
    "support.incident.": "key",
    "support.mails.": "people",
    "support.webhook.": "people",
}

# What comes every hour or day whether anybody did anything or not: no webhook gets it.
NOT_SENT = frozenset({"keys.uses.rolled_up", "keys.log_head.mailed"})


def of_event(name: str) -> str:
    """Return the kind of an event by its name."""
    return BEGINNINGS[max((one for one in BEGINNINGS if name.startswith(one)), key=len)]
