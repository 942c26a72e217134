"""What else reaches into or out of an organisation in a restored database: an owner looks at it before confirming."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from byokportal import clock
from keys.models import SetupLink
from tenants import audit
from tenants.models import (
    AuditEvent,
    Directory,
    DirectoryToken,
    HeadRecipient,
    LogStream,
    MailDomain,
    SignOnConnection,
    Tenant,
)

SHOWN = 200  # of each list on the page


@dataclass(frozen=True, slots=True)
class Way:
    """One way in or out.

    Attributes:
        name: what it is called; "": it has no name.
        address: from or to where.
        state: a code; `label` is what people read of it.
        by: the label of who made it; "": nobody knows.
    """

    pk: str
    name: str
    address: str
    since: datetime
    state: str = ""
    label: str = ""
    by: str = ""

    @property
    def facts(self) -> tuple[str, ...]:
        """Return what an owner confirms of it, whatever language it was read in."""
        return self.pk, self.name, self.address, self.since.isoformat(), self.state


def _made_by(tenant: Tenant, *events: str) -> dict[str, str]:
    """Return who made things that have no such column, by their id, as the log has it."""
    lines = AuditEvent.objects.of(tenant).filter(name__in=events)
    return {str(json.loads(one.payload)["target"]): audit.actor_of(one) for one in lines}


def _sign_on(tenant: Tenant) -> Iterator[Way]:
    by = _made_by(tenant, "tenants.sign_on.set_up", "tenants.sign_on.saml_set_up")
    for one in SignOnConnection.objects.of(tenant).present().order_by("pk"):
        who, label = by.get(str(one.pk), ""), str(one.get_mode_display())
        yield Way(str(one.pk), one.get_protocol_display(), one.issuer, one.created_at, one.mode, label, who)


def _domains(tenant: Tenant) -> Iterator[Way]:
    by = _made_by(tenant, "tenants.domain.added")
    for one in MailDomain.objects.of(tenant).filter(removed_at=None).order_by("pk"):
        who, label = by.get(str(one.pk), ""), str(one.get_status_display())
        yield Way(str(one.pk), "", one.name, one.created_at, one.status, label, who)


def _directory(tenant: Tenant) -> Iterator[Way]:
    by = _made_by(tenant, "tenants.directory.set_up")
    for one in Directory.objects.of(tenant):
        yield Way(str(one.pk), "", "SCIM", one.created_at, one.default_role, by=by.get(str(one.pk), ""))


def _directory_tokens(tenant: Tenant) -> Iterator[Way]:
    for one in DirectoryToken.objects.filter(directory__tenant=tenant).valid(clock.now()).order_by("pk"):
        yield Way(str(one.pk), "", "SCIM", one.created_at, by=one.made_by)


def _links(tenant: Tenant) -> Iterator[Way]:
    for one in SetupLink.objects.of(tenant).open().order_by("pk"):
        yield Way(str(one.pk), one.name, "", one.created_at, by=one.made_by)


def _log_streams(tenant: Tenant) -> Iterator[Way]:
    for one in LogStream.objects.of(tenant).present().order_by("pk"):
        label = str(one.get_status_display())
        yield Way(str(one.pk), one.description, one.origin, one.created_at, one.status, label, one.made_by)


def _head_recipients(tenant: Tenant) -> Iterator[Way]:
    by = _made_by(tenant, "tenants.head_recipient.added")
    for one in HeadRecipient.objects.filter(tenant=tenant).order_by("pk"):
        yield Way(str(one.pk), "", one.email, one.added_at, by=by.get(str(one.pk), ""))


# By name; an app above adds its own.
WAYS: dict[str, Callable[[Tenant], Iterable[Way]]] = {
    "sign_on": _sign_on,
    "domains": _domains,
    "directory": _directory,
    "directory_tokens": _directory_tokens,
    "links": _links,
    "log_streams": _log_streams,
    "head_recipients": _head_recipients,
}


def ways_of(tenant: Tenant, *, at_most: int) -> dict[str, list[Way]]:
    """Return what there is, list by list.

    Args:
        at_most: of each list.
    """
    return {name: list(islice(listed(tenant), at_most)) for name, listed in WAYS.items()}
