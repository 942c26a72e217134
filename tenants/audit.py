"""The log: who acts, the one function that writes a line, and a line as a sentence for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from django.utils import translation

from byokportal import clock, stored_sentences, words
from byokportal.leaves import canonical as canonical
from byokportal.translation import translate as _
from tenants import persons
from tenants.audit_events import EVENTS, KINDS, STATUS_FIELDS, STATUSES, WHO
from tenants.models import AccessToken, Approval, AuditEvent, Directory, Invitation, Member, ServiceAccount, Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does an operation. `label` is what the log keeps; the other fields decide what they may do."""

    label: str
    kind: str  # member, invited, service, staff, directory, system
    member: Member | None = None
    invitation: Invitation | None = None  # whose automation token acts before the owner has come
    service_account: ServiceAccount | None = None
    user: AbstractBaseUser | AnonymousUser | None = None
    token: AccessToken | None = None  # the automation token by which a member acts
    signed_in_at: datetime | None = None  # when a person in a browser last proved who they are
    via: str = ""  # portal, api, scim, admin, command
    approval: Approval | None = None  # what a second person has just approved
    directory: Directory | None = None  # the tenant's directory, which tells who belongs to it

    @property
    def tenant_id(self) -> UUID | None:
        """Return the tenant that a member, or a token of an invitation, acts for."""
        holder = self.member or self.invitation
        return holder.tenant_id if holder else None

    @property
    def is_tenants(self) -> bool:
        """Tell whether the tenant's own side acts: a member, or the automation of one who is invited."""
        return self.tenant_id is not None

    @property
    def role(self) -> str:
        """Return the role in that tenant; empty for everybody else."""
        holder = self.member or self.invitation
        return holder.role if holder else ""

    @classmethod
    def of_member(
        cls, member: Member, *, via: str, token: AccessToken | None = None, signed_in_at: datetime | None = None
    ) -> Actor:
        label = f"member:{member.user.email}"
        return cls(label=label, kind="member", member=member, via=via, token=token, signed_in_at=signed_in_at)

    @classmethod
    def of_account(cls, user: Any) -> Actor:
        """Return a person who changes their own account, whatever organisations they are in."""
        return cls(label=f"{'kore' if user.is_staff else 'member'}:{user.email}", kind="member", via="portal")

    @classmethod
    def of_invitation(cls, invitation: Invitation, *, token: AccessToken) -> Actor:
        label = f"invited:{invitation.email}"
        return cls(label=label, kind="invited", invitation=invitation, token=token, via="api")

    @classmethod
    def of_service(cls, account: ServiceAccount) -> Actor:
        return cls(label=f"service:{account.name} ({account.pk})", kind="service", service_account=account, via="api")

    @classmethod
    def of_directory(cls, directory: Directory) -> Actor:
        return cls(label="directory", kind="directory", directory=directory, via="scim")

    @classmethod
    def staff(cls, user: AbstractBaseUser | AnonymousUser, *, signed_in_at: datetime | None = None) -> Actor:
        label = f"kore:{user.get_username()}"
        return cls(label=label, kind="staff", user=user, signed_in_at=signed_in_at, via="admin")


SYSTEM = Actor(label="system", kind="system")
COMMAND = Actor(label="kore:command line", kind="system", via="command")


def record(name: str, /, *, tenant: Tenant | None, actor: Actor, target: object = None, **data: object) -> AuditEvent:
    """Write one line of the log; call it inside the transaction of the operation. Whom it names it holds by reference.

    Args:
        name: one of `EVENTS`.
        data: ids, ARNs, words and codes; never a secret.

    Raises:
        KeyError: the event or a placeholder of its sentence is not known (a bug, not a refusal).
    """
    EVENTS[name].format(**data)
    at = clock.now()
    target_id = "" if target is None else str(getattr(target, "pk", target))
    with translation.override("en"):  # a label among the data; the log is English, whatever the page is
        data = {
            key: value if isinstance(value, int | float | list | dict) else str(value) for key, value in data.items()
        }
    label, data = persons.referred(name, actor.label, data, tenant=tenant)
    payload = canonical(
        {
            "name": name,
            "tenant": str(tenant.pk) if tenant else None,
            "actor": label,
            "via": actor.via,
            "target": target_id,
            "at": at.isoformat(),
            "data": data,
        }
    )
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]
    return AuditEvent.objects.create(
        tenant=tenant, name=name, actor=label[:200], payload=payload, at=at, request_id=request_id
    )


def data_of(event: AuditEvent) -> dict[str, object]:
    """Return the data that the event was recorded with, people by their names."""
    data: dict[str, object] = json.loads(event.payload)["data"]
    return data if "{p:" not in event.payload else persons.shown(data, persons.of_event(event), event.tenant_id)


def actor_of(event: AuditEvent) -> str:
    """Return the label of who did it, a person by the name: `event.actor` holds a reference."""
    if "{p:" not in event.actor:
        return event.actor
    label: str = persons.shown(event.actor, persons.of_event(event), event.tenant_id)
    return label


def sentence(event: AuditEvent) -> str:
    """Return the event as a sentence for people: the row keeps codes, and here they become words.

    Rows are never deleted, so the log may hold an event that an earlier version recorded and `EVENTS` no longer has.
    """
    by_person = ":" in event.actor
    data = {name: _shown(event.name, name, value, by_person=by_person) for name, value in data_of(event).items()}
    if event.name in EVENTS:
        return _(EVENTS[event.name]).format(**data)
    facts = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in data.items())
    name = event.name.replace(".", " ").replace("_", " ")
    return _("Recorded by an earlier version: %(name)s (%(facts)s).", name=name, facts=facts or _("no details"))


def _shown(event: str, name: str, value: object, *, by_person: bool) -> str:
    if name in STATUS_FIELDS and event in STATUSES:
        text = STATUSES[event].get(str(value), str(value))
        return _(text) if text else text
    if name == "suspended_by":
        return _(WHO.get(str(value), str(value)))
    if name == "invited_by":
        return words.person(str(value))
    if isinstance(value, list):
        return ", ".join(_(one) if one in KINDS else words.label(one) for one in value)
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    text = words.label(value)
    if name == "reason" and by_person:
        return words.reason(text)
    is_ours = name in stored_sentences.OURS or (name in {"reason", "subject"} and not by_person)
    return stored_sentences.again(text) if is_ours else text
