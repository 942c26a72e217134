"""The log: who acts, which events there are, and the one function that writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from byokportal import clock, words
from tenants.models import AccessToken, Approval, AuditEvent, Invitation, Member, ServiceAccount, Tenant

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does an operation. `label` is what the log keeps; the other fields decide what they may do."""

    label: str
    kind: str  # member, invited, service, staff, system
    member: Member | None = None
    invitation: Invitation | None = None  # whose automation token acts before the owner has come
    service_account: ServiceAccount | None = None
    user: AbstractBaseUser | AnonymousUser | None = None
    token: AccessToken | None = None  # the automation token by which a member acts
    signed_in_at: datetime | None = None  # when a person in a browser last proved who they are
    via: str = ""  # portal, api, admin, command
    approval: Approval | None = None  # what a second person has just approved

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
    def staff(cls, user: AbstractBaseUser | AnonymousUser, *, signed_in_at: datetime | None = None) -> Actor:
        label = f"kore:{user.get_username()}"
        return cls(label=label, kind="staff", user=user, signed_in_at=signed_in_at, via="admin")


SYSTEM = Actor(label="system", kind="system")
COMMAND = Actor(label="kore:command line", kind="system", via="command")

# Name → sentence. A name that is not here cannot be recorded; placeholders are filled from the event's data.
EVENTS = {
    "tenants.service_role.opened": "The service role {service_role_arn} was opened for new tenants.",
    "tenants.tenant.created": "The organisation {name} was created.",
    "tenants.member.invited": "{email} was invited as {role}.",
    "tenants.invitation.resent": "The invitation of {email} was sent again.",
    "tenants.invitation.withdrawn": "The invitation of {email} was withdrawn: {reason}",
    "tenants.member.joined": "{email} joined as {role}; invited by {invited_by}.",
    "tenants.member.removed": "{email} was removed: {reason}",
    "tenants.second_factor.reset": "The second factor of {email} was reset: {reason}",
    "tenants.account.switched_off": "The account of {email} was switched off by Kore.ai: {reason}",
    "tenants.account.switched_on": "The account of {email} was switched on again by Kore.ai: {reason}",
    "tenants.staff.created": "{email} was made staff ({groups}): {reason}",
    "tenants.staff.regrouped": "{email} is now in {groups}: {reason}",
    "tenants.recovery.requested": "Kore.ai asks for a recovery, {what}: {email}. {reason}",
    "tenants.recovery.announced": (
        "Kore.ai announces a recovery, {what}: {email}. Until {until} every member may object. {reason}"
    ),
    "tenants.recovery.withdrawn": "Kore.ai withdrew the recovery: {reason}",
    "tenants.recovery.objected": "{by} objected to the recovery, which ends it.",
    "tenants.recovery.done": "The recovery is done, {what}: {email}.",
    "tenants.address.change_requested": "Another mail address was asked for: {email}.",
    "tenants.member.address_changed": "The mail address {old} became {email}.",
    "tenants.member.sign_in_changed": "How {email} signs in was changed: {what}.",
    "tenants.account.sign_in_changed": "How {email} signs in was changed: {what}.",
    "tenants.member.left": "{email} left the organisation.",
    "tenants.member.role_changed": "{email} became {role}.",
    "tenants.second_person.required": "From now on a second person approves what takes a key or people away.",
    "tenants.second_person.dropped": "No second person is needed any more: {reason}",
    "tenants.approval.requested": "A second person was asked to approve: {what}. {reason}",
    "tenants.approval.approved": "It was approved: {what}. {email} had asked for it.",
    "tenants.approval.refused": "It was refused: {what}. {email} had asked for it. {reason}",
    "tenants.approval.withdrawn": "It is no longer asked for: {what}.",
    "tenants.token.minted": "The automation token {name} was made.",
    "tenants.token.revoked": "The automation token {name} was revoked.",
    "tenants.domain.added": "The mail domain {domain} was named.",
    "tenants.domain.verified": "The mail domain {domain} was verified by its DNS record.",
    "tenants.domain.lapsed": "The DNS record of the mail domain {domain} is gone: nobody signs in by it any more.",
    "tenants.domain.asked_again": "The DNS record of the mail domain {domain} is looked up at once, by hand.",
    "tenants.domain.removed": "The mail domain {domain} was removed: {reason}",
    "tenants.sign_on.set_up": "A sign-on by {issuer} was set up, with the client {client_id}.",
    "tenants.sign_on.changed": "The sign-on by {issuer} was changed; its client is {client_id}.",
    "tenants.sign_on.mode_changed": (
        "The sign-on by the organisation's directory became: {mode}. {break_glass} keeps a sign-in without it."
    ),
    "tenants.sign_on.removed": (
        "The sign-on by {issuer} was removed, and with it the people who came by it ({count}): {reason}"
    ),
    "tenants.sign_on.linked": "The account of {email} was linked to the sign-on by {issuer}.",
    "tenants.sign_on.unlinked": "The account of {email} is no longer linked to the organisation's sign-on.",
    "tenants.member.joined_by_sign_on": "{email} joined as {role} by the organisation's sign-on ({issuer}).",
    "tenants.member.left_with_sign_on": "{email} left with the organisation's sign-on, the only way in of the account.",
    "tenants.member.signed_on": "{email} signed in by the organisation's sign-on.",
    "tenants.service_account.created": "The service account {name} was created.",
    "tenants.client.refused": (
        "A wrong secret came for {client} from {address}; within an hour that was attempt {count}."
    ),
    "tenants.service_account.secret_rotated": "The secret of the service account {name} was rotated: {reason}",
    "tenants.service_account.secret_revoked": "The old client secret of the service account {name} was ended: {reason}",
    "tenants.service_account.disabled": "The service account {name} was disabled: {reason}",
    "tenants.service_account.enabled": "The service account {name} was enabled again: {reason}",
    "tenants.service_account.changed": "What the service account {name} may do was changed: {reason}",
    "tenants.service_account.let_in": "The service account {name} may act for this organisation now: {reason}",
    "tenants.service_account.shut_out": "The service account {name} no longer acts for this organisation: {reason}",
    "tenants.step.changed": "Step {step} went from “{old}” to “{new}”.",
    "tenants.tenant.viewed": "Kore.ai support looked at this organisation.",
    "keys.documents.chosen": "What the documents of steps 2 and 3 say beside the guide's policies was chosen.",
    "keys.link.made": "A link for {name} was made: steps 1 to 4 without an account, until {until}.",
    "keys.link.revoked": "The link for {name} was revoked.",
    "keys.link.opened": "The link for {name} was opened.",
    "keys.arns.proposed": "By the link for {name} came {arns}; it waits for an owner or admin.",
    "keys.arns.confirmed": "What came by the link for {name} was taken over.",
    "keys.arns.refused": "What came by the link for {name} was refused.",
    "keys.registration.drafted": "The draft of the registration was changed.",
    "keys.registration.submitted": "The CMK ARN and the Role ARN were shared with Kore.ai.",
    "keys.registration.moved": "The registration went from “{old}” to “{new}”.",
    "keys.registration.activated": "The key {key_arn} is in service.",
    "keys.registration.rejected": "The registration was rejected at step {step}: {reason}.",
    "keys.configuration.requested": "The service-side configuration was requested.",
    "keys.configuration.approved": "The service-side configuration was approved: {reason}",
    "keys.configuration.written": "Our policy {policy_arn} now names the role {role_arn}.",
    "keys.configuration.removed": "Our policy {policy_arn} no longer names the role {role_arn}.",
    "keys.configuration.failed": "The service-side configuration stopped: {reason}.",
    "keys.configuration.waits_for_kore": (
        "The service-side configuration waits for Kore.ai: something on our own side has to be corrected ({code})."
    ),
    "keys.test.requested": "A test was requested.",
    "keys.test.finished": "The test ended: {verdict}.",
    "keys.test.refused": (
        "AWS refused us in the test. If it is still so at {counts_at}, {what} needs a change (step {step})."
    ),
    "keys.test.waits_for_kore": "The test waits for Kore.ai: something on our own side has to be corrected ({code}).",
    "keys.database.admitted": "The database {incarnation} was admitted to give out keys: {reason}",
    "keys.key.suspended": "The key was suspended by {suspended_by}: {reason}",
    "keys.key.deletion_scheduled": "AWS deletes {key_arn} on {at}; nobody opens then what it protects.",
    "keys.key.resumed": "The key is asked again after Resume: {reason}",
    "keys.key.asked_again": "AWS was asked about the key at once, by hand.",
    "keys.key.unreachable": "The key could not be asked: {reason}.",
    "keys.incident.opened": (
        "AWS refuses organisations on {service_role_arn} ({count}), and it is our doing: {why}. "
        "No key is suspended for it."
    ),
    "keys.incident.closed": "The incident on {service_role_arn} is over.",
    "keys.incident.closed_by_hand": (
        "A person closed the incident on {service_role_arn}. "
        "What AWS refuses since before then counts as the organisations' doing: {reason}"
    ),
    "keys.key.trust_too_wide": (
        "AWS let us become the role without the right External ID. Seen once more, the key is suspended."
    ),
    "keys.drill.started": (
        "A revocation drill was started; service has to stop within {seconds} seconds of AWS's first refusal."
    ),
    "keys.drill.finished": (
        "The revocation drill is done: every process had stopped {stopped_after} seconds after AWS's first refusal."
    ),
    "keys.drill.without_result": (
        "The revocation drill has no result: no process held a key when AWS refused us, so nothing had to stop."
    ),
    "keys.drill.ended": "The revocation drill ended before it was done: {reason}",
    "keys.key.recovered": "The key answers again and is in service.",
    "keys.key.caches_dropped": "All copies of unwrapped keys were told to go: {reason}",
    "keys.branch_key.created": "A branch key was made under {key_arn}.",
    "keys.branch_key.moved": "A branch key was re-encrypted under {key_arn}.",
    "keys.branch_key.stays": "A branch key still opens only with {key_arn}: {reason}.",
    "keys.branch_key.rotation_requested": "A fresh branch key was asked for: {reason}",
    "keys.registration.kept": (
        "Every branch key has left {key_arn}. That key and the role {role_arn} are needed until {until} all the same: "
        "a backup from before the move opens only with both, and backups are kept for {days}."
    ),
    "keys.registration.horizon_ended": (
        "{key_arn} was given up before its backup horizon ended: "
        "backups from before {since} do not open any more ({count} branch keys): {reason}"
    ),
    "keys.kept_key.at_risk": "{key_arn} is needed until {until}: {why}",
    "keys.registration.withdrawn": "The registration was withdrawn: {reason}",
    "keys.key.left": "The organisation gives up its own key; the platform's key takes over: {reason}",
    "keys.latency.changed": "The revocation latency is now {seconds} seconds.",
    "support.ticket.opened": "A ticket was opened: {subject}",
    "support.ticket.answered": "A ticket was answered.",
    "support.ticket.closed": "A ticket was closed: {reason}",
}


CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no white space, non-ASCII escaped (what a seal hashes)."""
    return CANONICAL.encode(value)


def record(name: str, /, *, tenant: Tenant | None, actor: Actor, target: object = None, **data: object) -> AuditEvent:
    """Write one line of the log; call it inside the transaction of the operation.

    Args:
        name: one of `EVENTS`.
        data: ids, ARNs, words and codes; never a secret.

    Raises:
        KeyError: the event or a placeholder of its sentence is not known (a bug, not a refusal).
    """
    EVENTS[name].format(**data)
    at = clock.now()
    target_id = "" if target is None else str(getattr(target, "pk", target))
    payload = canonical(
        {
            "name": name,
            "tenant": str(tenant.pk) if tenant else None,
            "actor": actor.label,
            "via": actor.via,
            "target": target_id,
            "at": at.isoformat(),
            "data": {
                key: value if isinstance(value, int | float | list | dict) else str(value)
                for key, value in data.items()
            },
        }
    )
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64]
    return AuditEvent.objects.create(
        tenant=tenant, name=name, actor=actor.label[:200], payload=payload, at=at, request_id=request_id
    )


def data_of(event: AuditEvent) -> dict[str, object]:
    """Return the data that the event was recorded with."""
    data: dict[str, object] = json.loads(event.payload)["data"]
    return data


STEP = {
    "not_started": "not started",
    "in_progress": "in progress",
    "waiting_for_tenant": "waiting for the organisation",
    "waiting_for_kore": "waiting for Kore.ai",
    "failed": "needs a change",
}
REGISTRATION = {
    "submitted": "shared",
    "configuring": "being configured",
    "testing": "being tested",
    "rejected": "needs a change",
}
VERDICT = {"pass": "every check passed", "fail": "something needs a change", "unknown": "it cannot be told yet"}
STATUSES = {"tenants.step.changed": STEP, "keys.registration.moved": REGISTRATION, "keys.test.finished": VERDICT}
STATUS_FIELDS = {"old", "new", "verdict"}
WHO = {"your organisation": "the organisation", "tenant": "the organisation", "aws": "AWS", "kore": "Kore.ai"}


def sentence(event: AuditEvent) -> str:
    """Return the event as a sentence for people: the row keeps codes, and here they become words.

    Rows are never deleted, so the log may hold an event that an earlier version recorded and `EVENTS` no longer has.
    """
    data = {name: _shown(event.name, name, value) for name, value in data_of(event).items()}
    if event.name in EVENTS:
        return EVENTS[event.name].format(**data)
    facts = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in data.items())
    name = event.name.replace(".", " ").replace("_", " ")
    return f"Recorded by an earlier version: {name} ({facts or 'no details'})."


def _shown(event: str, name: str, value: object) -> str:
    if name in STATUS_FIELDS and event in STATUSES:
        return STATUSES[event].get(str(value), str(value))
    if name == "suspended_by":
        return WHO.get(str(value), str(value))
    if name == "invited_by":
        return words.person(str(value))
    if isinstance(value, list):
        return ", ".join(words.label(one) for one in value)
    return words.label(value)
