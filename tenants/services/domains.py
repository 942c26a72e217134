"""A tenant's mail domains: named, shown by a DNS record to be its own, looked at again, removed."""

from __future__ import annotations

import re
import secrets
import uuid

import idna
from django.conf import settings

from byokportal import clock, secret_texts
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import approvals, audit, public_domains, roles, tasks, transactions
from tenants.audit import Actor
from tenants.errors import DomainNotYours, TooManyDomains
from tenants.models import MailDomain, Tenant
from tenants.services import guards
from tenants.services.words import reason_of

DOMAINS = 20  # of one tenant
# What a second person approves.
NAME, REMOVE = lazy("name the mail domain {domain}"), lazy("remove the mail domain {domain}")
LABELS = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.ASCII)


def domain_of(text: str) -> str:
    """Return a mail domain as we keep it: lower case, ASCII (RFC 5891 where it has other letters).

    Raises:
        InvalidInput: it is none.
        SecretPasted: it holds a secret.
    """
    secret_texts.refuse(text, field="name")
    name = text.strip().removeprefix("@").rstrip(".").lower()
    try:
        name = name if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        name = ""
    if len(name) > 200 or not LABELS.fullmatch(name):
        raise InvalidInput(
            errors={"name": [_("This is no mail domain. Give what stands after the @, like acme.example.")]}
        )
    return name


def is_ours(domain: str) -> bool:
    """Tell whether a domain is one of Kore.ai's, or below one."""
    return any(domain == one or domain.endswith(f".{one}") for one in settings.STAFF_EMAIL_DOMAINS)


@transactions.atomic
def add_domain(tenant: Tenant, *, name: str, actor: Actor) -> MailDomain:
    """Name a mail domain; it counts once its TXT record was seen.

    Raises:
        InvalidInput: it is no mail domain, or is named already.
        DomainNotYours: it is Kore.ai's, or everybody has addresses there.
        TooManyDomains: the tenant has as many as it can.
    """
    tenant, actor = _held(tenant, actor)
    name = domain_of(name)
    if is_ours(name) or public_domains.is_public(name):
        raise DomainNotYours(errors={"name": [DomainNotYours.detail]})
    mine = MailDomain.objects.of(tenant).present()
    if mine.filter(name=name).exists():
        raise InvalidInput(errors={"name": [_("This domain is in the list already.")]})
    if mine.count() >= DOMAINS:
        raise TooManyDomains(limit=DOMAINS)
    approvals.require(actor, "tenants.change_sign_on", tenant, what=NAME.format(domain=name), domain=name)
    domain = MailDomain.objects.create(tenant=tenant, name=name, token=secrets.token_hex(20))
    audit.record("tenants.domain.added", tenant=tenant, actor=actor, target=domain, domain=name)
    tasks.enqueue(tasks.look_at_domain, domain_id=str(domain.pk))
    return domain


@transactions.atomic
def look_at_domain_again(domain: MailDomain, *, actor: Actor) -> None:
    """Have the DNS record looked up now."""
    tenant, _ = _held(domain.tenant, actor)
    present = MailDomain.objects.of(tenant).present().filter(pk=domain.pk)
    if not present.update(next_look_at=clock.now()):
        raise NotFound
    audit.record("tenants.domain.asked_again", tenant=tenant, actor=actor, target=domain, domain=domain.name)
    tasks.enqueue(tasks.look_at_domain, domain_id=str(domain.pk))


@transactions.atomic
def remove_domain(domain: MailDomain, *, reason: str, actor: Actor) -> None:
    """Give a mail domain up: nobody signs in by an address of it, and sessions that one made end at once.

    Raises:
        ReasonMissing: a reason is needed.
    """
    tenant, actor = _held(domain.tenant, actor)
    reason = reason_of(reason)
    present = MailDomain.objects.of(tenant).present().filter(pk=domain.pk)
    if not present.exists():
        raise NotFound
    what = REMOVE.format(domain=domain.name)
    approvals.require(actor, "tenants.change_sign_on", tenant, reason=reason, what=what, domain=domain.name)
    present.update(removed_at=clock.now())
    audit.record("tenants.domain.removed", tenant=tenant, actor=actor, target=domain, domain=domain.name, reason=reason)


def mail_domain_of(tenant: Tenant, pk: uuid.UUID) -> MailDomain:
    """Return a mail domain of the tenant.

    Raises:
        NotFound: it has none with that id.
    """
    found = MailDomain.objects.of(tenant).present().filter(pk=pk).select_related("tenant").first()
    if found is None:
        raise NotFound
    return found


def _held(tenant: Tenant, actor: Actor) -> tuple[Tenant, Actor]:
    held = Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
    actor = guards.as_now(actor)
    roles.require(actor, "tenants.change_sign_on", held)
    if held.is_canary:
        raise NotFound
    return held, actor
