"""What a restored database does once more, line by line: stops, removes and shuts out what its log says."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q

from byokportal import clock
from byokportal.errors import DomainError
from keys import escrow, holds
from keys.models import BranchKey, KeyRegistration, KeyUse, SetupLink
from keys.services import activation, horizon, key, links, registration
from keys.services.log_lines import OF_ACCOUNTS, SAYS, By, LogLine
from tenants import services as tenant_services
from tenants.audit import Actor
from tenants.models import (
    AccessToken,
    AuditEvent,
    ClientSecret,
    DirectoryToken,
    Invitation,
    Member,
    PersonName,
    ServiceAccount,
    Tenant,
)

Activation, Status = KeyRegistration.Activation, KeyRegistration.Status


@dataclass(slots=True)
class Restored:
    """What the check did and found.

    Attributes:
        closed, suspended, withdrawn, removed, disabled, revoked, erased: what was done again, by id.
        lost: branch keys that the log names and neither the database nor a copy has: what they wrapped is lost.
        left: what the log says and could not be done, with the reason; whatever else is known of these organisations,
            not everything is.
        began_at: when this check began; what it wrote itself is younger.
        known_until: when the newest head was made that proves what the logs say; "": none does.
        unchecked: organisations of which not everything is known up to the moment of the loss.
        held: those of them that get no data keys from now on, until their owners have confirmed (`keys.holds`).
        released: those that were on hold, and of which everything is known now.
    """

    closed: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    began_at: datetime = field(default_factory=clock.now)
    known_until: str = ""
    lost: list[dict[str, str]] = field(default_factory=list)
    left: list[dict[str, str]] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)


Doing = Callable[[LogLine, Tenant, Restored, str, Actor], None]


def follow(line: LogLine, done: Restored, reason: str, actor: Actor) -> None:
    family = SAYS[line.name][0]
    try:
        tenant = Tenant.objects.filter(pk=uuid.UUID(line.tenant)).first() if line.tenant else None
        if family in OF_ACCOUNTS and (tenant or not line.tenant):
            DO_OF_ACCOUNTS[family](line, tenant, done, reason, actor)
        elif tenant is not None:
            DO[family](line, tenant, done, reason, actor)
        else:
            raise ValueError("the database does not know its organisation")
    except (DomainError, ValueError) as error:
        done.left.append({"tenant": line.tenant, "line": str(line.id), "what": line.name, "why": str(error)[:300]})


def hold(tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    """Give an organisation no data keys until an owner has confirmed; one that waits already goes on waiting."""
    use = KeyUse.objects.order_by("-pk").values_list("at", flat=True).first()
    # Neither this check's own lines nor those of reopen_logs tell how far the backup reaches.
    mine = AuditEvent.objects.of(tenant).filter(at__lt=done.began_at).exclude(name__startswith="keys.log.")
    line = mine.order_by("-pk").values_list("at", flat=True).first()
    known = [at for at in (use, line) if at is not None]
    if holds.begin(tenant, lost_from=max(known) if known else None, reason=reason, actor=actor) is not None:
        done.held.append(str(tenant.pk))


def _suspend(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    by = By(line.side)
    if by == By.AWS:  # it is asked for by the next probe
        return
    mine = KeyRegistration.objects.of(tenant)
    named = mine.filter(pk=uuid.UUID(line.target)).first()
    if named is not None and named.status in {Status.RETIRING, Status.RETIRED}:
        return  # a key that serves no more needs no stop
    # A registration that the backup has not, or as prepared, had taken over from the one that it has as serving.
    serving = mine.serving().first()
    if serving is not None:
        is_pressed = serving.tenant_suspended_at is not None if by == By.TENANT else serving.suspended_by == By.KORE
        if not is_pressed:
            key.press(tenant, by=by, reason=reason, actor=actor)
            done.suspended.append(str(serving.pk))
    prepared = mine.in_preparation().first()
    if prepared is not None and (named is None or named.pk == prepared.pk):
        _stop_before_it_serves(prepared, done, reason, actor)


def _stop_before_it_serves(prepared: KeyRegistration, done: Restored, reason: str, actor: Actor) -> None:
    """Nothing can be pressed of a key that does not serve yet: it goes into service by a person alone, and owners are
    asked first."""
    if prepared.activation != Activation.BY_BUTTON or prepared.activation_due_at is not None:
        activation.choose_activation(prepared.tenant, activation=Activation.BY_BUTTON, actor=actor)
    hold(prepared.tenant, done, reason, actor)
    raise ValueError(
        f"the key that was suspended may be {prepared.key_arn or 'one without an ARN yet'}, which is being set up "
        "here: it waits for a person's Activate, and the organisation for its owner"
    )


def _withdraw(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    if KeyRegistration.objects.of(tenant).in_preparation().filter(pk=uuid.UUID(line.target)).exists():
        registration.withdraw(tenant, reason=reason, actor=actor)
        done.withdrawn.append(line.target)


def _end_horizon(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    old = KeyRegistration.objects.of(tenant).not_retired().filter(pk=uuid.UUID(line.target)).first()
    if old is None:
        return
    if not line.is_here:  # it destroys wrappings
        raise ValueError(f"only a file says that {old.key_arn} was given up: it opens here what it wrapped")
    if old.status != Status.RETIRING:
        raise ValueError(f"{old.key_arn} was given up since, and is {old.status_in_english} here")
    horizon.end_horizon(old, accepts_loss=True, reason=reason, actor=actor)
    done.withdrawn.append(line.target)


def _remove(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    member = Member.objects.of(tenant).filter(pk=int(line.target)).select_related("user", "tenant").first()
    if member is None:
        return
    if str(line.data.get("email", "")).lower() not in {"", member.user.email.lower()}:
        raise ValueError("a member of that number has another address")
    tenant_services.remove_as_logged(member, reason=reason, actor=actor)
    done.removed.append(str(member.pk))


def _disable(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    account = ServiceAccount.objects.filter(pk=uuid.UUID(line.target), disabled_at=None).first()
    if account is not None:
        acts_for = tenant is None or account.has_all_tenants or account.tenants.filter(pk=tenant.pk).exists()
        if not (line.is_here or acts_for):
            raise ValueError("the service account does not act for that organisation")
        tenant_services.disable_service_account(account, reason=reason, actor=actor)
        done.disabled.append(str(account.pk))


def _disable_if_forgotten(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    """A secret that was rotated since the backup: the database knows the old one only, which had to end."""
    if not ClientSecret.objects.filter(service_account=uuid.UUID(line.target), created_at__gt=line.after).exists():
        _disable(line, tenant, done, reason, actor)


def _revoke(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    of_tenant = Q(member__tenant=tenant) | Q(invitation__tenant=tenant)
    token = AccessToken.objects.filter(of_tenant, pk=uuid.UUID(line.target), revoked_at=None).first()
    if token is not None:
        tenant_services.revoke_token(token, actor=actor)
        done.revoked.append(str(token.pk))


def _revoke_old_secret(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    mine = ClientSecret.objects.filter(service_account=uuid.UUID(line.target))
    old = mine.valid(clock.now()).exclude(expires_at=None).filter(created_at__lt=line.at).first()
    # A rotation that came later has its own time for the secret before it.
    if old is None or mine.filter(created_at__gt=line.at).exists():
        return
    account = ServiceAccount.objects.get(pk=old.service_account_id)
    acts_for = tenant is None or account.has_all_tenants or account.tenants.filter(pk=tenant.pk).exists()
    if not (line.is_here or acts_for):
        raise ValueError("the service account does not act for that organisation")
    tenant_services.revoke_old_secret(account, reason=reason, actor=actor)
    done.revoked.append(str(account.pk))


def _revoke_directory_token(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    mine = DirectoryToken.objects.filter(directory__tenant=tenant, revoked_at=None)
    token = mine.filter(pk=uuid.UUID(line.target)).select_related("directory__tenant").first()
    if token is not None:
        tenant_services.revoke_directory_token(token, actor=actor)
        done.revoked.append(str(token.pk))


def _revoke_link(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    mine = SetupLink.objects.of(tenant).filter(pk=uuid.UUID(line.target), revoked_at=None)
    link = mine.select_related("tenant").first()
    if link is not None:
        links.revoke_link(link, actor=actor)
        done.revoked.append(str(link.pk))


def _withdraw_invitation(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    found = Invitation.objects.of(tenant).open().filter(pk=uuid.UUID(line.target)).select_related("tenant").first()
    if found is not None:
        tenant_services.withdraw_invitation(found, reason=reason, actor=actor)
        done.withdrawn.append(str(found.pk))


def _erase(line: LogLine, tenant: Tenant | None, done: Restored, reason: str, actor: Actor) -> None:
    name = PersonName.objects.filter(pk=line.target, tenant=tenant, erased_at=None).first()
    if name is not None:
        # What only a file says of its own organisation, or an owner did, counts in that organisation alone.
        only = tenant if not line.is_here or line.actor.startswith("member:") else None
        tenant_services.erase_as_logged(name, only=only, reason=reason, actor=actor)
        done.erased.append(name.pk)


def _look_for(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    if not BranchKey.objects.filter(tenant=tenant, pk=uuid.UUID(line.target)).exists():
        copy = "rebuild_branch_keys may have it" if escrow.is_on() else "no copies are made"
        done.lost.append(
            {"tenant": line.tenant, "branch_key": line.target, "wrapped_since": line.at.isoformat(), "copy": copy}
        )


def _say_that_it_is_not_proved(line: LogLine, tenant: Tenant, done: Restored, reason: str, actor: Actor) -> None:
    raise ValueError("only a file says that it was closed: put its receipt where heads are published, or close it anew")


DO: dict[str, Doing] = {
    "key": _suspend,
    "registration": _withdraw,
    "horizon": _end_horizon,
    "member": _remove,
    "token": _revoke,
    "directory token": _revoke_directory_token,
    "invitation": _withdraw_invitation,
    "link": _revoke_link,
    "branch key": _look_for,
    "organisation": _say_that_it_is_not_proved,
}
DO_OF_ACCOUNTS: dict[str, Callable[[LogLine, Tenant | None, Restored, str, Actor], None]] = {
    "account": _disable,
    "account secret": _disable_if_forgotten,
    "old secret": _revoke_old_secret,
    "person": _erase,
}
