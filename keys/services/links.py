"""Operations of the link for a colleague who owns AWS: make, revoke, open; what comes in by it is confirmed or refused.

As careful as an invitation's: 256 random bits of which only the digest is kept, an end, bounded in number; whoever
holds it sees the set-up of steps 1 to 4 and nothing else, and changes nothing by it.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db.models import F

from byokportal import clock
from byokportal.errors import InvalidInput, NotFound
from byokportal.translation import translate as _
from keys import errors
from keys.arns import KeyArn, RoleArn
from keys.models import ArnProposal, KeyRegistration, SetupLink
from keys.proof.pasted import stack_outputs
from keys.services import acceptance, registration
from tenants import audit, roles, tokens, transactions
from tenants.audit import Actor
from tenants.models import Tenant
from tenants.services import guards, name_of

DAYS, MOST_DAYS = 30, 90
OPEN_LINKS = 5  # of one organisation
PROPOSALS = 50  # by one link
LOGGED_AGAIN = timedelta(hours=1)  # one line in the log for all that is opened within
Status = ArnProposal.Status


@transactions.atomic
def make_link(tenant: Tenant, *, name: str, days: int = DAYS, actor: Actor) -> tuple[SetupLink, str]:
    """Make a link for a colleague who owns AWS.

    Args:
        name: whom it is for; it stands in the log beside what comes in by the link.

    Returns:
        the link, and its secret, which is not kept.

    Raises:
        InvalidInput: no name, or another number of days than 1 to 90.
        TooManyLinks: the organisation has five that are open.
    """
    actor = guards.as_now(actor)
    roles.require(actor, "keys.make_link", tenant)
    name = name_of(name)
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(errors={"days": [_("A link lasts 1 to %(most_days)s days.", most_days=MOST_DAYS)]})
    if SetupLink.objects.of(tenant).open().count() >= OPEN_LINKS:
        raise errors.TooManyLinks(limit=OPEN_LINKS)
    raw = tokens.new_secret("sl")
    now = clock.now()
    link = SetupLink.objects.create(
        tenant=tenant,
        name=name,
        digest=tokens.digest(raw),
        made_by=actor.label[:200],
        maker=actor.member,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    audit.record(
        "keys.link.made", tenant=tenant, actor=actor, target=link, name=name, until=link.expires_at.isoformat()
    )
    return link, raw


@transactions.atomic
def revoke_link(link: SetupLink, *, actor: Actor) -> None:
    """End a link now; twice is once."""
    roles.require(actor, "keys.revoke_link", link.tenant)
    if SetupLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record("keys.link.revoked", tenant=link.tenant, actor=actor, target=link, name=link.name)


def link_of(tenant: Tenant, pk: uuid.UUID) -> SetupLink:
    """Return a link of the tenant.

    Raises:
        NotFound: it has none with that id.
    """
    found = SetupLink.objects.of(tenant).filter(pk=pk).select_related("tenant").first()
    if found is None:
        raise NotFound
    return found


def link_by_secret(raw: str) -> SetupLink | None:
    """Return the open link that a secret belongs to; looking uses nothing up.

    None: it was revoked, has ended, was never made, or what it was for is in service or given up; nobody is told which.
    """
    of_digest = SetupLink.objects.open().filter(digest=tokens.digest(raw))
    return of_digest.select_related("tenant__service_role").first()


def note_opened(link: SetupLink) -> None:
    """Count that somebody has opened the link, and log it, once for all within an hour."""
    SetupLink.objects.filter(pk=link.pk).update(opened=F("opened") + 1)
    if link.last_opened_at is None or link.last_opened_at + LOGGED_AGAIN <= clock.now():
        _log_opened(link)


@transactions.atomic
def _log_opened(link: SetupLink) -> None:
    as_it_was = SetupLink.objects.filter(pk=link.pk, last_opened_at=link.last_opened_at)
    if as_it_was.update(last_opened_at=clock.now()):
        audit.record("keys.link.opened", tenant=link.tenant, actor=by(link), target=link, name=link.name)


def by(link: SetupLink) -> Actor:
    """Return whoever holds the link, as the log names them; this actor may do nothing that the table knows."""
    return Actor(label=f"link:{link.name}", kind="link", via="link")


# --- what comes in ----------------------------------------------------------------------------------------------------


@transactions.atomic
def propose(link: SetupLink, *, text: str) -> ArnProposal:
    """Keep the ARNs of what a deployment printed until an owner or admin confirms them; the ones before are replaced.

    Raises:
        LinkOver: it ended meanwhile, or too much came in by it.
        SecretPasted, InvalidInput, ArnRefused: there is no ARN in it that could be used.
    """
    tenant = link.tenant
    found = stack_outputs.read(text, service_role=RoleArn.parse(tenant.service_role.arn))
    rules = acceptance.rules_of(tenant)
    for arn in (found.key, found.role):
        if arn is not None:
            rules.judge(arn)
    counted = SetupLink.objects.open().filter(pk=link.pk, proposed__lt=PROPOSALS)
    if not counted.update(proposed=F("proposed") + 1):
        raise errors.LinkOver
    now = clock.now()
    pending = ArnProposal.objects.filter(tenant=tenant, status=Status.PENDING)
    pending.update(status=Status.REPLACED, decided_at=now, decided_by=by(link).label[:200])
    given = {"key_arn": str(found.key or ""), "role_arn": str(found.role or "")}
    proposal = ArnProposal.objects.create(tenant=tenant, link=link, created_at=now, **given)
    arns = " and ".join(filter(None, given.values()))
    audit.record("keys.arns.proposed", tenant=tenant, actor=by(link), target=proposal, name=link.name, arns=arns)
    return proposal


def pending_proposal(tenant: Tenant) -> ArnProposal | None:
    """Return the ARNs that wait for an owner or admin; they end with the link that they came by."""
    waiting = ArnProposal.objects.filter(tenant=tenant, status=Status.PENDING, link__in=SetupLink.objects.open())
    return waiting.select_related("link", "tenant").first()


def proposal_of(tenant: Tenant, pk: uuid.UUID) -> ArnProposal:
    """Return a proposal of the tenant.

    Raises:
        NotFound: it has none with that id.
    """
    found = ArnProposal.objects.filter(tenant=tenant, pk=pk).select_related("tenant__service_role", "link").first()
    if found is None:
        raise NotFound
    return found


@transactions.atomic
def confirm_proposal(proposal: ArnProposal, *, actor: Actor) -> KeyRegistration:
    """Take proposed ARNs over, as if the person had typed them.

    Raises:
        ProposalDecided: it was confirmed, refused or replaced before, or its link has ended.
        ArnRefused, RegistrationBusy, TokenNotMarked, FreshSignInNeeded: as `save_draft` does.
    """
    roles.require(actor, "keys.decide_proposal", proposal.tenant)
    _decide(proposal, Status.CONFIRMED, "keys.arns.confirmed", actor)
    return registration.save_draft(
        proposal.tenant,
        key_arn=KeyArn.parse(proposal.key_arn) if proposal.key_arn else None,
        role_arn=RoleArn.parse(proposal.role_arn) if proposal.role_arn else None,
        actor=actor,
    )


@transactions.atomic
def refuse_proposal(proposal: ArnProposal, *, actor: Actor) -> None:
    """Refuse proposed ARNs.

    Raises:
        ProposalDecided: it was confirmed, refused or replaced before, or its link has ended.
    """
    roles.require(actor, "keys.decide_proposal", proposal.tenant)
    _decide(proposal, Status.REFUSED, "keys.arns.refused", actor)


def _decide(proposal: ArnProposal, status: str, event: str, actor: Actor) -> None:
    waiting = ArnProposal.objects.filter(pk=proposal.pk, status=Status.PENDING, link__in=SetupLink.objects.open())
    if not waiting.update(status=status, decided_at=clock.now(), decided_by=actor.label[:200]):
        raise errors.ProposalDecided
    audit.record(event, tenant=proposal.tenant, actor=actor, target=proposal, name=proposal.link.name)
