"""All pairs of operations on one tenant, one against the other on PostgreSQL:
nobody waits for ever, no deadlock, never a 500.

The first of a pair stops right after its first lock, until the second has gone as far as it can: if the two took their
locks in another order, each would then hold what the other one wants. An operation that the services gain has to get
its line in OPERATIONS below.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
import secrets
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from conftest import a_log_stream, acting, acting_staff, an_approval, health_of, save_draft, with_health
from django.contrib.auth.models import User
from django.db import Error, IntegrityError, OperationalError, connection, connections, transaction

from byokportal import clock, database
from byokportal.errors import DomainError
from keys import activation, branchkeys, errors, retirement
from keys import services as key_services
from keys.configuration import apply
from keys.health import blame, judging, measuring
from keys.models import (
    ArnProposal,
    BranchKey,
    Closing,
    EncryptionTest,
    Incident,
    KeyRegistration,
    RestoreHold,
    RevocationDrill,
    RoleConfiguration,
    SetupLink,
)
from keys.policies.choices import Choices
from keys.proof.encryption_test import CHECKS, runner
from keys.proof.encryption_test.base import Judgement, Verdict
from keys.services import closing as closing_service
from support import follow
from support import services as support_services
from support.models import AffectedTenant, Ticket, WebhookDelivery, WebhookEndpoint
from tenants import audit, onboarding, roles, transactions
from tenants import services as tenant_services
from tenants.asserted import Asserted
from tenants.audit import COMMAND, SYSTEM, Actor
from tenants.models import (
    Approval,
    AuditEvent,
    Directory,
    HeadRecipient,
    Invitation,
    LogStream,
    MailDomain,
    Member,
    OwnerRecovery,
    ServiceRole,
    SignOnAttempt,
    SignOnConnection,
    SignOnIdentity,
    Tenant,
)

KEY = "arn:aws:kms:eu-central-1:111122223333:key/{}"
ROLE = "arn:aws:iam::111122223333:role/{}"
LOCKS = re.compile(r"^\s*(INSERT|UPDATE|DELETE)|FOR (NO KEY )?UPDATE|FOR (KEY )?SHARE", re.IGNORECASE)


@dataclass
class World:
    """One organisation with something of everything, in rows."""

    role: ServiceRole
    serving_status: str = "active"
    suspended_by: str = ""
    prepared_status: str = "testing"
    configuration_status: str = "propagating"
    drill: bool = False
    name: str = field(default_factory=lambda: secrets.token_hex(6))

    def __post_init__(self) -> None:
        now = clock.now()
        if self.prepared_status == "draft":
            # Nothing is open of what was not shared yet, whatever the other of two operations needs.
            self.configuration_status = "done"
        self.tenant = Tenant.objects.create(name=self.name, service_role=self.role)
        onboarding.OnboardingStep.objects.bulk_create(
            onboarding.OnboardingStep(tenant=self.tenant, number=number) for number in range(1, 7)
        )
        users = [User(username=f"{who}@{self.name}.example", email=f"{who}@{self.name}.example") for who in ("a", "b")]
        User.objects.bulk_create(users)
        self.alice = Member.objects.create(tenant=self.tenant, user=users[0], role="owner")
        self.bob = Member.objects.create(tenant=self.tenant, user=users[1], role="owner")
        self.actor = acting(self.alice)
        self.serving = KeyRegistration.objects.create(
            tenant=self.tenant,
            key_arn=KEY.format(uuid.uuid4()),
            role_arn=ROLE.format(self.name),
            status=self.serving_status,
            suspended_by=self.suspended_by,
            tenant_suspended_at=now if self.suspended_by == "tenant" else None,
            activated_at=now,
            role_claim=f"111122223333/{self.name}",
        )
        with_health(self.serving)
        self.prepared = KeyRegistration.objects.create(
            tenant=self.tenant,
            key_arn=KEY.format(uuid.uuid4()),
            role_arn=ROLE.format(f"{self.name}2"),
            status=self.prepared_status,
            replaces=self.serving,
        )
        self.configuration = RoleConfiguration.objects.create(
            tenant=self.tenant,
            registration=self.prepared,
            service_role=self.role,
            action="add",
            role_arn=self.prepared.role_arn,
            status=self.configuration_status,
            attempts=1,
            claimed_at=now,
        )
        self.test = EncryptionTest.objects.create(
            tenant=self.tenant, registration=self.prepared, requested_by="tests", status="running", claimed_at=now
        )
        self.branch_key = BranchKey.objects.create(
            tenant=self.tenant, registration=self.serving, key_arn=self.serving.key_arn, wrapped=b"x", claimed_at=now
        )
        self.invitation = Invitation.objects.create(
            tenant=self.tenant,
            email=f"d@{self.name}.example",
            role="admin",
            invited_by="tests",
            expires_at=now + timedelta(days=1),
        )
        self.link = tenant_services.new_link(self.invitation)
        self.ticket = Ticket.objects.create(tenant=self.tenant, subject="s", opened_by="tests")
        if self.drill:
            self.a_drill = RevocationDrill.objects.create(
                tenant=self.tenant,
                registration=self.serving,
                started_by="tests",
                bound_seconds=300,
                until=now + timedelta(hours=1),
            )
        audit.record("keys.key.recovered", tenant=self.tenant, actor=SYSTEM, target=self.serving)

    def tested(self, **facts: Any) -> None:
        self.test.delete()
        past = EncryptionTest.objects.create(
            tenant=self.tenant,
            registration=self.prepared,
            requested_by="tests",
            status="finished",
            verdict="pass",
            due_at=None,
            finished_at=clock.now(),
        )
        self.test = past
        KeyRegistration.objects.filter(pk=self.prepared.pk).update(tested_at=clock.now(), **facts)

    def due(self) -> None:
        self.tested(activation="at_time", activate_at=clock.now(), activation_due_at=clock.now())

    def incident(self) -> Incident:
        found = Incident.objects.filter(service_role=self.role, closed_at=None).first()
        return found or Incident.objects.create(service_role=self.role, why="tests")

    def affecting(self) -> Incident:
        """Return the incident, which concerns this tenant and has not been told to it."""
        incident = self.incident()
        AffectedTenant.objects.update_or_create(
            incident=incident, tenant=self.tenant, defaults={"since": clock.now(), "told_at": None}
        )
        return incident

    def retiring(self) -> KeyRegistration:
        KeyRegistration.objects.filter(pk=self.serving.pk).update(status="retiring", suspended_by="")
        return KeyRegistration.objects.get(pk=self.serving.pk)

    def kept(self) -> KeyRegistration:
        """Return one that only backups need any more."""
        now, name = clock.now(), secrets.token_hex(6)
        kept = KeyRegistration.objects.create(
            tenant=self.tenant,
            key_arn=KEY.format(uuid.uuid4()),
            role_arn=ROLE.format(name),
            status="retiring",
            activated_at=now,
            role_claim=f"111122223333/{name}",
            last_moved_at=now + timedelta(days=1),
        )
        return with_health(kept)

    def anew(self, row: Any) -> Any:
        """Return the row as another request loads it."""
        return type(row).objects.get(pk=row.pk)

    def closing(self, status: str = "waiting") -> Closing:
        """Return the closing of this organisation, of the status that the operation needs."""
        lead = User.objects.create_superuser(f"{secrets.token_hex(6)}@kore.example")
        facts = {"status": status, "reason": "r", "requested_by": f"kore:{lead.email}", "asked": lead, "due_at": None}
        open_ones = Closing.objects.of(self.tenant).exclude(status__in=["refused", "stopped"])
        return open_ones.first() or Closing.objects.create(tenant=self.tenant, **facts)

    def a_second_ticket(self) -> Any:
        return Ticket.objects.create(tenant=self.tenant, subject="t", opened_by="tests")

    def a_closed_ticket(self) -> Any:
        return Ticket.objects.create(
            tenant=self.tenant, subject="u", opened_by="tests", status="closed", closed_at=clock.now()
        )

    @property
    def my_tenant(self) -> Tenant:
        return Tenant.objects.select_related("service_role").get(pk=self.tenant.pk)

    def lead(self) -> Any:
        """Return somebody of ours who has just signed in."""
        return acting_staff(User.objects.create_superuser(f"{secrets.token_hex(6)}@kore.example"))

    def with_old_members(self) -> None:
        at = clock.now() - timedelta(days=30)
        Member.objects.filter(tenant=self.tenant).update(created_at=at, role_since=at)

    def with_head_recipient(self) -> None:
        HeadRecipient.objects.get_or_create(tenant=self.tenant, email="h@a.example")

    @property
    def my_head_recipient(self) -> HeadRecipient:
        return HeadRecipient.objects.get(tenant=self.tenant, email="h@a.example")

    def with_log_stream(self) -> None:
        if not LogStream.objects.of(self.tenant).exists():
            a_log_stream(self.alice, actor=COMMAND)  # whoever of hers adds one may have to ask a second person

    @property
    def my_log_stream(self) -> LogStream:
        return LogStream.objects.select_related("tenant").get(tenant=self.tenant)

    def with_approval(self) -> None:
        self.with_old_members()
        Tenant.objects.filter(pk=self.tenant.pk).update(second_person_since=clock.now())
        an_approval(self.alice)

    @property
    def my_approval(self) -> Approval:
        return Approval.objects.get(tenant=self.tenant)

    def with_connection(self) -> None:
        if SignOnConnection.objects.of(self.tenant).exists():
            return
        facts = {"issuer": "https://login.acme.example", "client_id": "c", "sealed_secret": "", "mode": "offered"}
        SignOnConnection.objects.create(tenant=self.tenant, default_role="auditor", **facts)

    @property
    def connection(self) -> SignOnConnection:
        return SignOnConnection.objects.select_related("tenant").get(tenant=self.tenant)

    def with_answer(self, who: str = "new") -> None:
        self.with_connection()
        MailDomain.objects.get_or_create(
            tenant=self.tenant, name=f"{self.name}.example", defaults={"token": "t", "status": "verified"}
        )
        attempt, _ = tenant_services.begin_sign_on(self.connection, purpose="sign_in")
        said = Asserted("https://login.acme.example", "s", f"{who}@{self.name}.example", (), False, None)
        type(attempt).objects.filter(pk=attempt.pk).update(asserted=said.as_json())

    def with_answer_of_alice(self) -> None:
        email = f"a@{self.name}.example"
        EmailAddress.objects.get_or_create(user=self.alice.user, email=email, defaults={"verified": True})
        self.with_answer("a")

    @property
    def answered(self) -> SignOnAttempt:
        mine = SignOnAttempt.objects.filter(connection__tenant=self.tenant, asserted__isnull=False)
        return mine.select_related("connection__tenant").latest("created_at")

    def with_link_to_directory(self) -> None:
        self.with_connection()
        facts = {"issuer": "https://login.acme.example", "subject": "alice", "email": "a@acme.example"}
        SignOnIdentity.objects.create(connection=self.connection, member=self.alice, made_account=False, **facts)

    def with_setup_link(self) -> None:
        if not SetupLink.objects.of(self.tenant).exists():
            key_services.make_link(self.tenant, name="n", actor=COMMAND)

    @property
    def setup_link(self) -> SetupLink:
        return SetupLink.objects.select_related("tenant").filter(tenant=self.tenant).earliest("created_at")

    def with_proposal(self) -> None:
        self.with_setup_link()
        if not ArnProposal.objects.filter(tenant=self.tenant).exists():
            key_services.propose(self.setup_link, text=ROLE.format(f"{self.name}5"))

    @property
    def proposal(self) -> ArnProposal:
        return ArnProposal.objects.filter(tenant=self.tenant).select_related("tenant", "link").earliest("created_at")

    def with_hold(self) -> None:
        if not RestoreHold.objects.of(self.tenant).open().exists():
            RestoreHold.objects.create(tenant=self.tenant)

    def with_asked_hold(self) -> None:
        self.with_hold()
        other = self.lead()
        facts = {"requested_by": other.label, "asked": other.user, "request_reason": "r"}
        RestoreHold.objects.of(self.tenant).open().update(**facts)

    @property
    def my_hold(self) -> RestoreHold:
        return RestoreHold.objects.select_related("tenant").of(self.tenant).latest("held_at")

    def with_webhook(self) -> None:
        if not WebhookEndpoint.objects.of(self.tenant).exists():
            facts = {"description": "d", "origin": "https://a.example", "kinds": ["key"], "sealed_address": ""}
            endpoint = WebhookEndpoint.objects.create(tenant=self.tenant, **facts)
            event = AuditEvent.objects.filter(tenant=self.tenant).latest("pk")
            WebhookDelivery.objects.create(tenant=self.tenant, endpoint=endpoint, event=event, status="dead")

    @property
    def webhook(self) -> WebhookEndpoint:
        return WebhookEndpoint.objects.select_related("tenant").get(tenant=self.tenant)

    @property
    def delivery(self) -> WebhookDelivery:
        return (
            WebhookDelivery.objects.select_related("endpoint__tenant")
            .exclude(event=None)
            .filter(tenant=self.tenant)
            .latest("pk")
        )

    def with_one_owner(self) -> None:
        Member.objects.filter(pk=self.bob.pk).update(role="auditor")

    def with_former_member(self) -> None:
        user = User.objects.create_user(f"gone@{self.name}.example", f"gone@{self.name}.example", "x")
        self.former = Member.everybody.create(
            tenant=self.tenant, user=user, role="admin", removed_at=clock.now(), is_ended_by_directory=True
        )

    def without_owner(self) -> None:
        Member.objects.filter(tenant=self.tenant).update(role="auditor")

    def recovery(self, status: str) -> OwnerRecovery:
        """Return the one that is under way, as far as that."""
        found: OwnerRecovery | None = OwnerRecovery.objects.of(self.tenant).open().first()
        if found is None:
            facts = {"requested_by": self.lead().user, "member": self.bob}
            if status == "waiting":
                facts |= {"approved_by": self.lead().user, "due_at": clock.now()}
            found = OwnerRecovery.objects.create(
                tenant=self.tenant, kind="second_factor", email=self.bob.user.email, reason="r", status=status, **facts
            )
        return found

    def account(self) -> Any:
        return tenant_services.create_service_account(
            "s", tenants=[self.tenant], scopes=list(roles.SCOPES), actor=COMMAND
        )[0]

    def rotated_account(self) -> Any:
        tenant_services.rotate_secret(self.account(), reason="r", actor=COMMAND)

    def disabled_account(self) -> Any:
        tenant_services.disable_service_account(self.account(), reason="r", actor=COMMAND)

    def mail_domain(self) -> MailDomain:
        return MailDomain.objects.create(tenant=self.tenant, name=f"{secrets.token_hex(6)}.example", token="t")

    def with_directory(self) -> None:
        """A directory of the tenant, with a token, a person and a group."""
        self.directory, _ = Directory.objects.get_or_create(tenant=self.tenant)
        self.by_directory = Actor.of_directory(Directory.objects.select_related("tenant").get(pk=self.directory.pk))
        self.directory_token = self.directory.tokens.create(digest=secrets.token_hex(32), made_by="x")
        self.directory_user = self.directory.users.create(
            user_name="d", user_name_key=secrets.token_hex(6), email="", is_active=True, resource={}
        )
        self.directory_group = self.directory.groups.create(display_name="g")

    def person_facts(self) -> Any:
        name = f"{secrets.token_hex(6)}@acme.example"
        return tenant_services.PersonFacts(name, "", name, True, {})

    def group_facts(self) -> Any:
        return tenant_services.GroupFacts(secrets.token_hex(4), "", [self.directory_user.pk])

    def with_joiner(self) -> None:
        """Somebody with an account of their own whom the directory names."""
        self.with_directory()
        email = f"{secrets.token_hex(6)}@{self.name}.example"
        MailDomain.objects.get_or_create(
            tenant=self.tenant, name=f"{self.name}.example", defaults={"token": "t", "status": "verified"}
        )
        self.joiner = User.objects.create_user(email, email, "x")
        EmailAddress.objects.create(user=self.joiner, email=email, verified=True, primary=True)
        Directory.objects.filter(pk=self.directory.pk).update(default_role="auditor")
        self.directory.users.create(user_name=email, user_name_key=email, email=email, is_active=True, resource={})

    def token(self) -> Any:
        return tenant_services.mint_token(self.alice, name="t", actor=COMMAND)[0]


@dataclass(frozen=True)
class Line:
    """One operation: what it needs, and the call."""

    call: Callable[[World], Any]
    needs: dict[str, Any] = field(default_factory=dict)
    before: Callable[[World], Any] = lambda world: None


CLOSABLE = {"serving_status": "suspended", "suspended_by": "kore", "prepared_status": "draft"}
OPERATIONS: dict[str, Line] = {
    "keys.choose_activation": Line(
        lambda w: key_services.choose_activation(w.my_tenant, activation="by_button", actor=w.actor)
    ),
    "keys.activate": Line(lambda w: key_services.activate(w.my_tenant, actor=w.actor), before=World.tested),
    "tenants.create_tenant": Line(
        lambda w: tenant_services.create_tenant(w.name, owner_email=f"{w.name}@c.example", actor=COMMAND)
    ),
    "tenants.invite": Line(
        lambda w: tenant_services.invite(w.my_tenant, email=f"c@{w.name}.example", role="admin", actor=w.actor)
    ),
    "tenants.resend_invitation": Line(lambda w: tenant_services.resend_invitation(w.anew(w.invitation), actor=w.actor)),
    "tenants.withdraw_invitation": Line(
        lambda w: tenant_services.withdraw_invitation(w.anew(w.invitation), reason="r", actor=w.actor)
    ),
    "tenants.accept_invitation": Line(
        lambda w: tenant_services.accept_invitation(w.link, password=f"a long one {w.name}")
    ),
    "tenants.remove_member": Line(lambda w: tenant_services.remove_member(w.anew(w.bob), reason="r", actor=w.actor)),
    "tenants.forget_member": Line(
        lambda w: tenant_services.forget_member(w.former, reason="r", actor=w.actor), before=World.with_former_member
    ),
    "tenants.leave_organisation": Line(lambda w: tenant_services.leave_organisation(w.anew(w.alice), actor=w.actor)),
    "tenants.change_role": Line(lambda w: tenant_services.change_role(w.anew(w.bob), role="auditor", actor=w.actor)),
    "tenants.require_second_person": Line(
        lambda w: tenant_services.require_second_person(w.my_tenant, actor=w.actor), before=World.with_old_members
    ),
    "tenants.drop_second_person": Line(
        lambda w: tenant_services.drop_second_person(w.my_tenant, reason="r", actor=w.actor)
    ),
    "tenants.approve": Line(
        lambda w: tenant_services.approve(w.my_approval, actor=acting(w.bob)), before=World.with_approval
    ),
    "tenants.refuse": Line(
        lambda w: tenant_services.refuse(w.my_approval, reason="r", actor=acting(w.bob)), before=World.with_approval
    ),
    "tenants.withdraw_approval": Line(
        lambda w: tenant_services.withdraw_approval(w.my_approval, actor=w.actor), before=World.with_approval
    ),
    "tenants.add_head_recipient": Line(
        lambda w: tenant_services.add_head_recipient(w.my_tenant, email=f"h@{w.name}.example", actor=w.actor)
    ),
    "tenants.remove_head_recipient": Line(
        lambda w: tenant_services.remove_head_recipient(w.my_head_recipient, actor=w.actor),
        before=World.with_head_recipient,
    ),
    "tenants.add_log_stream": Line(
        lambda w: tenant_services.add_log_stream(
            w.my_tenant, format="webhook", address="https://siem.example/", description="d", actor=w.actor
        )
    ),
    "tenants.change_log_stream": Line(
        lambda w: tenant_services.change_log_stream(w.my_log_stream, description="e", actor=w.actor),
        before=World.with_log_stream,
    ),
    "tenants.rotate_log_stream_secret": Line(
        lambda w: tenant_services.rotate_log_stream_secret(w.my_log_stream, actor=w.actor),
        before=World.with_log_stream,
    ),
    "tenants.switch_log_stream": Line(
        lambda w: tenant_services.switch_log_stream(w.my_log_stream, is_on=False, actor=w.actor),
        before=World.with_log_stream,
    ),
    "tenants.remove_log_stream": Line(
        lambda w: tenant_services.remove_log_stream(w.my_log_stream, actor=w.actor), before=World.with_log_stream
    ),
    "tenants.test_log_stream": Line(
        lambda w: tenant_services.test_log_stream(w.my_log_stream, actor=w.actor), before=World.with_log_stream
    ),
    "tenants.replay_log_stream": Line(
        lambda w: tenant_services.replay_log_stream(w.my_log_stream, number=1, actor=w.actor),
        before=World.with_log_stream,
    ),
    "tenants.mint_token": Line(lambda w: tenant_services.mint_token(w.anew(w.alice), name="n", actor=w.actor)),
    "tenants.mint_token_of_invitation": Line(
        lambda w: tenant_services.mint_token_of_invitation(
            w.anew(w.invitation), name="n", permissions=["read"], may_change_serving_key=False, actor=COMMAND
        )
    ),
    "tenants.revoke_token": Line(
        lambda w: tenant_services.revoke_token(w.alice.tokens.get(name="t"), actor=w.actor), before=World.token
    ),
    "tenants.create_service_account": Line(World.account),
    "tenants.rotate_secret": Line(
        lambda w: tenant_services.rotate_secret(w.tenant.service_accounts.first(), reason="r", actor=COMMAND),
        before=World.account,
    ),
    "tenants.revoke_old_secret": Line(
        lambda w: tenant_services.revoke_old_secret(w.tenant.service_accounts.first(), reason="r", actor=COMMAND),
        before=World.rotated_account,
    ),
    "tenants.disable_service_account": Line(
        lambda w: tenant_services.disable_service_account(w.tenant.service_accounts.first(), reason="r", actor=COMMAND),
        before=World.account,
    ),
    "tenants.enable_service_account": Line(
        lambda w: tenant_services.enable_service_account(w.tenant.service_accounts.first(), reason="r", actor=COMMAND),
        before=World.disabled_account,
    ),
    "tenants.change_service_account": Line(
        lambda w: tenant_services.change_service_account(
            w.tenant.service_accounts.first(), scopes=["key:read"], tenants=[w.tenant], reason="r", actor=COMMAND
        ),
        before=World.account,
    ),
    "tenants.note_refused_client": Line(
        lambda w: tenant_services.note_refused_client("x", address="192.0.2.1", count=1)
    ),
    "tenants.reset_second_factor": Line(
        lambda w: tenant_services.reset_second_factor(w.anew(w.bob), reason="r", actor=w.actor)
    ),
    "tenants.request_new_owner": Line(
        lambda w: tenant_services.request_new_owner(
            w.my_tenant, email=f"n@{w.name}.example", reason="r", actor=w.lead()
        ),
        before=World.without_owner,
    ),
    "tenants.request_second_factor": Line(
        lambda w: tenant_services.request_second_factor(w.my_tenant, reason="r", actor=w.lead()),
        before=World.with_one_owner,
    ),
    "tenants.approve_recovery": Line(
        lambda w: tenant_services.approve_recovery(w.recovery("requested"), reason="r", actor=w.lead()),
        before=lambda w: w.recovery("requested"),
    ),
    "tenants.withdraw_recovery": Line(
        lambda w: tenant_services.withdraw_recovery(w.recovery("waiting"), reason="r", actor=w.lead()),
        before=lambda w: w.recovery("waiting"),
    ),
    "tenants.object_by_link": Line(
        lambda w: tenant_services.object_by_link(
            tenant_services.new_objection_link(w.recovery("waiting"), "x@x.example")
        ),
        before=lambda w: w.recovery("waiting"),
    ),
    "tenants.object_to_recovery": Line(
        lambda w: tenant_services.object_to_recovery(w.recovery("waiting"), actor=w.actor),
        before=lambda w: w.recovery("waiting"),
    ),
    "tenants.complete_recovery": Line(
        lambda w: tenant_services.complete_recovery(w.recovery("waiting")), before=lambda w: w.recovery("waiting")
    ),
    "tenants.create_staff": Line(
        lambda w: tenant_services.create_staff(
            f"s{secrets.token_hex(4)}@kore.example", groups=["Support"], reason="r", actor=COMMAND
        )
    ),
    "tenants.regroup_staff": Line(
        lambda w: tenant_services.regroup_staff(w.lead().user, groups=["Support"], reason="r", actor=COMMAND)
    ),
    "tenants.reset_staff_second_factor": Line(
        lambda w: tenant_services.reset_staff_second_factor(w.lead().user, reason="r", actor=COMMAND)
    ),
    "tenants.switch_off": Line(
        lambda w: tenant_services.switch_off(w.anew(w.bob.user), reason="r", actor=COMMAND), before=World.with_one_owner
    ),
    "tenants.switch_on": Line(lambda w: tenant_services.switch_on(w.anew(w.bob.user), reason="r", actor=COMMAND)),
    "tenants.add_domain": Line(
        lambda w: tenant_services.add_domain(w.my_tenant, name=f"{secrets.token_hex(6)}.example", actor=w.actor)
    ),
    "tenants.look_at_domain_again": Line(
        lambda w: tenant_services.look_at_domain_again(w.mail_domain(), actor=w.actor)
    ),
    "tenants.remove_domain": Line(lambda w: tenant_services.remove_domain(w.mail_domain(), reason="r", actor=w.actor)),
    "tenants.set_directory": Line(lambda w: tenant_services.set_directory(w.my_tenant, actor=w.actor)),
    "tenants.make_directory_token": Line(
        lambda w: tenant_services.make_directory_token(w.directory, actor=w.actor), before=World.with_directory
    ),
    "tenants.revoke_directory_token": Line(
        lambda w: tenant_services.revoke_directory_token(w.directory_token, actor=w.actor),
        before=World.with_directory,
    ),
    "tenants.set_group_role": Line(
        lambda w: tenant_services.set_group_role(w.directory_group, role="auditor", actor=w.actor),
        before=World.with_directory,
    ),
    "tenants.remove_directory": Line(
        lambda w: tenant_services.remove_directory(w.directory, reason="r", actor=w.actor), before=World.with_directory
    ),
    "tenants.create_person": Line(
        lambda w: tenant_services.create_person(w.directory, facts=w.person_facts(), actor=w.by_directory),
        before=World.with_directory,
    ),
    "tenants.change_person": Line(
        lambda w: tenant_services.change_person(
            w.directory, w.directory_user.pk, change=lambda person: w.person_facts(), actor=w.by_directory
        ),
        before=World.with_directory,
    ),
    "tenants.delete_person": Line(
        lambda w: tenant_services.delete_person(w.directory, w.directory_user.pk, actor=w.by_directory),
        before=World.with_directory,
    ),
    "tenants.create_group": Line(
        lambda w: tenant_services.create_group(w.directory, facts=w.group_facts(), actor=w.by_directory),
        before=World.with_directory,
    ),
    "tenants.change_group": Line(
        lambda w: tenant_services.change_group(
            w.directory, w.directory_group.pk, change=lambda group: w.group_facts(), actor=w.by_directory
        ),
        before=World.with_directory,
    ),
    "tenants.delete_group": Line(
        lambda w: tenant_services.delete_group(w.directory, w.directory_group.pk, actor=w.by_directory),
        before=World.with_directory,
    ),
    "tenants.join_by_directory": Line(
        lambda w: tenant_services.join_by_directory(w.my_tenant, user=w.joiner, signed_in_at=clock.now()),
        before=World.with_joiner,
    ),
    "tenants.set_connection": Line(
        lambda w: tenant_services.set_connection(
            w.my_tenant,
            issuer="https://login.acme.example",
            client_id="another",
            client_secret="",
            provider={},
            role_claim="",
            role_values={},
            default_role="auditor",
            may_make_owners=False,
            factor_values=[],
            actor=w.actor,
        ),
        before=World.with_connection,
    ),
    "tenants.set_sign_on_mode": Line(
        lambda w: tenant_services.set_sign_on_mode(w.connection, mode="draft", actor=w.actor),
        before=World.with_connection,
    ),
    "tenants.remove_connection": Line(
        lambda w: tenant_services.remove_connection(w.connection, reason="r", actor=w.actor),
        before=World.with_connection,
    ),
    "tenants.begin_sign_on": Line(
        lambda w: tenant_services.begin_sign_on(w.connection, purpose="sign_in"), before=World.with_connection
    ),
    "tenants.sign_on": Line(lambda w: tenant_services.sign_on(w.answered), before=World.with_answer),
    "tenants.link_account": Line(
        lambda w: tenant_services.link_account(w.answered, user=w.alice.user, signed_in_at=clock.now()),
        before=World.with_answer_of_alice,
    ),
    "tenants.unlink_account": Line(
        lambda w: tenant_services.unlink_account(w.anew(w.alice), actor=w.actor), before=World.with_link_to_directory
    ),
    "keys.make_link": Line(lambda w: key_services.make_link(w.my_tenant, name="n", actor=w.actor)),
    "keys.revoke_link": Line(
        lambda w: key_services.revoke_link(w.setup_link, actor=w.actor), before=World.with_setup_link
    ),
    "keys.propose": Line(
        lambda w: key_services.propose(w.setup_link, text=ROLE.format(f"{w.name}5")), before=World.with_setup_link
    ),
    "keys.confirm_proposal": Line(
        lambda w: key_services.confirm_proposal(w.proposal, actor=w.actor),
        {"prepared_status": "rejected"},
        before=World.with_proposal,
    ),
    "keys.refuse_proposal": Line(
        lambda w: key_services.refuse_proposal(w.proposal, actor=w.actor), before=World.with_proposal
    ),
    "keys.ask_again": Line(lambda w: key_services.ask_again(w.my_tenant, actor=w.actor)),
    "keys.save_draft": Line(
        lambda w: save_draft(w.my_tenant, role_arn=ROLE.format(f"{w.name}3"), actor=w.actor),
        {"prepared_status": "rejected"},
    ),
    "keys.save_outputs": Line(
        lambda w: key_services.save_outputs(w.my_tenant, text=ROLE.format(f"{w.name}4"), actor=w.actor),
        {"prepared_status": "rejected"},
    ),
    "keys.choose_documents": Line(
        lambda w: key_services.choose_documents(w.my_tenant, Choices(makes_key=True), actor=w.actor)
    ),
    "keys.submit_registration": Line(
        lambda w: key_services.submit_registration(w.my_tenant, actor=w.actor),
        {"prepared_status": "draft", "configuration_status": "done"},
    ),
    "keys.withdraw": Line(lambda w: key_services.withdraw(w.my_tenant, reason="r", actor=w.actor)),
    "keys.approve_configuration": Line(
        lambda w: key_services.approve_configuration(w.anew(w.configuration), reason="r", actor=COMMAND),
        {"prepared_status": "submitted", "configuration_status": "waiting_for_approval"},
    ),
    "keys.retry_configuration": Line(
        lambda w: key_services.retry_configuration(w.anew(w.configuration), reason="r", actor=COMMAND),
        {"prepared_status": "configuring", "configuration_status": "failed"},
    ),
    "keys.start_test": Line(
        lambda w: key_services.start_test(w.my_tenant, keep_until=clock.now() + timedelta(hours=1), actor=w.actor),
        {"prepared_status": "rejected"},
    ),
    "keys.start_drill": Line(lambda w: key_services.start_drill(w.my_tenant, actor=w.actor)),
    "keys.cancel_drill": Line(
        lambda w: key_services.cancel_drill(
            w.anew(w.a_drill) if w.drill else w.anew(RevocationDrill.objects.of(w.tenant).first() or w.ticket),
            actor=w.actor,
        ),
        {"drill": True},
    ),
    "keys.close_incident": Line(lambda w: key_services.close_incident(w.incident(), reason="r", actor=COMMAND)),
    "keys.probe_incident": Line(lambda w: key_services.probe_incident(w.incident(), reason="r", actor=COMMAND)),
    "support.take_incident": Line(lambda w: support_services.take_incident(w.incident(), reason="r", actor=COMMAND)),
    "support.decide_held_mails": Line(
        lambda w: support_services.decide_held_mails(w.incident(), choice="dropped", reason="r", actor=COMMAND)
    ),
    "support.tell_affected": Line(
        lambda w: support_services.tell_affected(w.affecting(), text="It is us.", text_back="It was us.", actor=COMMAND)
    ),
    "keys.suspend": Line(lambda w: key_services.suspend(w.my_tenant, reason="r", actor=w.actor)),
    "keys.resume": Line(
        lambda w: key_services.resume(w.my_tenant, reason="r", actor=w.actor),
        {"serving_status": "suspended", "suspended_by": "tenant"},
    ),
    "keys.drop_caches": Line(lambda w: key_services.drop_caches(w.my_tenant, reason="r", actor=w.actor)),
    "keys.set_latency": Line(lambda w: key_services.set_latency(w.my_tenant, seconds=60, actor=w.actor)),
    "keys.rotate_branch_key": Line(lambda w: key_services.rotate_branch_key(w.my_tenant, reason="r", actor=w.actor)),
    "keys.leave": Line(lambda w: key_services.leave(w.my_tenant, reason="r", actor=w.actor)),
    "keys.confirm_restore": Line(
        lambda w: key_services.confirm_restore(
            w.my_tenant, digest=key_services.review_of(w.my_tenant).digest, actor=w.actor
        ),
        before=World.with_hold,
    ),
    "keys.request_release": Line(
        lambda w: key_services.request_release(w.my_hold, reason="r", actor=w.lead()), before=World.with_hold
    ),
    "keys.approve_release": Line(
        lambda w: key_services.approve_release(w.my_hold, reason="r", actor=w.lead()), before=World.with_asked_hold
    ),
    "keys.refuse_release": Line(
        lambda w: key_services.refuse_release(w.my_hold, reason="r", actor=w.lead()), before=World.with_asked_hold
    ),
    "keys.end_horizon": Line(
        lambda w: key_services.end_horizon(w.kept(), accepts_loss=True, reason="r", actor=w.actor)
    ),
    "keys.request_closing": Line(
        lambda w: key_services.request_closing(w.my_tenant, reason="r", actor=w.lead()), CLOSABLE
    ),
    "keys.approve_closing": Line(
        lambda w: key_services.approve_closing(w.closing(), reason="r", actor=w.lead()), CLOSABLE
    ),
    "keys.refuse_closing": Line(
        lambda w: key_services.refuse_closing(w.closing(), reason="r", actor=w.lead()), CLOSABLE
    ),
    "tenants.end_organisation": Line(
        lambda w: tenant_services.end_organisation(w.my_tenant, reason="r", actor=COMMAND)
    ),
    "support.open_ticket": Line(
        lambda w: support_services.open_ticket(w.my_tenant, topic="question", subject="s", text="t", actor=w.actor)
    ),
    "support.answer_ticket": Line(lambda w: support_services.answer_ticket(w.anew(w.ticket), text="t", actor=w.actor)),
    "support.close_ticket": Line(lambda w: support_services.close_ticket(w.anew(w.ticket), reason="r", actor=SYSTEM)),
    "support.reopen_ticket": Line(
        lambda w: support_services.reopen_ticket(w.a_closed_ticket(), reason="r", actor=SYSTEM)
    ),
    "support.assign_ticket": Line(lambda w: support_services.assign_ticket(w.anew(w.ticket), to=None, actor=SYSTEM)),
    "support.change_ticket": Line(
        lambda w: support_services.change_ticket(
            w.anew(w.ticket), topic="question", step=1, priority="high", actor=SYSTEM
        )
    ),
    "support.merge_ticket": Line(
        lambda w: support_services.merge_ticket(w.a_second_ticket(), into=w.anew(w.ticket), reason="r", actor=SYSTEM)
    ),
    "support.approve_configuration": Line(
        lambda w: support_services.approve_configuration(w.my_tenant, reason="r", actor=COMMAND),
        {"prepared_status": "submitted", "configuration_status": "waiting_for_approval"},
    ),
    "support.choose_mails": Line(lambda w: support_services.choose_mails(w.alice, kinds=["key"], actor=w.actor)),
    "support.add_webhook": Line(
        lambda w: support_services.add_webhook(
            w.my_tenant,
            format="standard",
            address="https://hooks.acme.example/",
            description="d",
            kinds=["key"],
            actor=w.actor,
        )
    ),
    "support.change_webhook": Line(
        lambda w: support_services.change_webhook(w.webhook, description="e", kinds=["key"], actor=w.actor),
        before=lambda w: w.with_webhook(),
    ),
    "support.rotate_webhook_secret": Line(
        lambda w: support_services.rotate_webhook_secret(w.webhook, actor=w.actor), before=lambda w: w.with_webhook()
    ),
    "support.switch_webhook": Line(
        lambda w: support_services.switch_webhook(w.webhook, is_on=False, actor=w.actor),
        before=lambda w: w.with_webhook(),
    ),
    "support.remove_webhook": Line(
        lambda w: support_services.remove_webhook(w.webhook, actor=w.actor), before=lambda w: w.with_webhook()
    ),
    "support.test_webhook": Line(
        lambda w: support_services.test_webhook(w.webhook, actor=w.actor), before=lambda w: w.with_webhook()
    ),
    "support.replay_failed": Line(
        lambda w: support_services.replay_failed(w.webhook, since=clock.now(), actor=w.actor),
        before=lambda w: w.with_webhook(),
    ),
    "support.replay_delivery": Line(
        lambda w: support_services.replay_delivery(w.delivery, actor=w.actor), before=lambda w: w.with_webhook()
    ),
    "support.record_view": Line(lambda w: support_services.record_view(w.my_tenant, actor=COMMAND)),
}
# A second person has to approve it; where none is needed nothing changes.
UNRECORDED = {"tenants.drop_second_person", "tenants.begin_sign_on"}
# What has an actor and is no transaction on rows of one tenant, with the reason.
ELSEWHERE = {
    "tenants.tokens_seen_by": "reads only",
    "keys.evidence": "reads only",
    "tenants.erase_person": "of a person who is nowhere in any more, in rows of all tenants",
    "tenants.erase_as_logged": "a part of restore_check, while nothing else runs",
    "keys.reconcile": "reads only",
    "keys.rebuild_branch_keys": "of all tenants, when rows are lost",
    "keys.look_at_closing": "reads only",
    "keys.close_tenant": "its transactions are those of request_closing and of what the worker does, below",
    "keys.close_again": "the same, in a restored database",
    "tenants.is_second_lead": "reads only",
    "tenants.acting_person": "reads only",
    "tenants.remove_as_logged": "a part of restore_check, while nothing else runs",
    "keys.restore_check": "of all tenants, when the database went back",
    "keys.reopen_logs": "of all logs at once, when the database went back",
    "keys.archive_months": "of old months of all logs at once: test_archiving kills it at its steps",
    "keys.admit_database": "of all tenants at once, when the database is another one",
    "tenants.request_address_change": "of a person's account, not of a tenant's rows",
    "tenants.confirm_address_change": "the same; it writes a line into each log",
    "tenants.take_answer": "of one browser's sign-in, before any row of the tenant is touched",
    "tenants.note_answer": "the same",
    "tenants.deliver_answer": "the same",
    "tenants.take_delivery": "the same",
    "tenants.sign_on_again": "the same: it ends the sign-in, and the proof stands in the session",
    "tenants.create_canary_tenant": "before there is a tenant",
    "tenants.record_service_role": "before there is a tenant",
    "keys.advance_canary": "of a tenant of our own, by beat alone",
    "support.suspend_key": "`keys.suspend` of the table above, after a count of what one person stopped",
    "support.begin_bulk": "rows of a list of ours; each of its rows goes through an operation above",
    "support.resume_bulk": "the same",
    "support.approve_bulk": "a compare-and-set on the list alone",
    "support.refuse_bulk": "the same",
    "support.stop_bulk": "the same",
    "support.record_end": "of the worker that has done the last row of a list",
    "support.record_review": "of our own people, and no row of a tenant's",
    "support.record_staff_export": "the same",
    "support.test_on_call": "a test to people of ours, and no row of a tenant's",
    "support.record_export": "writes a line into our own log, and no row of a tenant's",
    "keys.request_resolution": "of a policy of ours, which is no tenant's row",
    "keys.approve_resolution": "the same",
    "keys.refuse_resolution": "the same",
    "keys.restore_last_good": "the same",
    "keys.review_restoration": "the same",
}
REFUSED = errors.KeyAccessDenied(aws_code="AccessDenied", action="kms:Decrypt", aws_request_id="r")
SILENT = errors.AwsUnreachable(aws_code="timeout", action="kms:Decrypt", aws_request_id="r", retry_after=5)
# What workers and requests for data keys do of themselves with the same rows.
MACHINES: dict[str, Line] = {
    "a good probe": Line(
        lambda w: judging.good(health_of(w.anew(w.serving))), {"serving_status": "suspended", "suspended_by": "aws"}
    ),
    "a refusal": Line(lambda w: judging._refused(health_of(w.anew(w.serving)), REFUSED)),
    "a silence": Line(lambda w: judging.unreachable(w.anew(w.serving), SILENT)),
    "a refusal left to a probe": Line(lambda w: judging._leave_to_probe(health_of(w.anew(w.serving)), REFUSED)),
    "a registration retires": Line(lambda w: retirement.retire(w.retiring())),
    "a branch key is made": Line(lambda w: _made(w)),
    "a branch key moves": Line(
        lambda w: branchkeys._write_moved(w.anew(w.branch_key), w.serving, w.branch_key.claimed_at, b"z")
    ),
    "a branch key stays": Line(
        lambda w: branchkeys._postpone(w.anew(w.branch_key), w.branch_key.claimed_at, REFUSED, is_at_home=False)
    ),
    "our policy is written": Line(
        lambda w: apply._added(w.anew(w.configuration), w.configuration.claimed_at, _written()),
        {"prepared_status": "configuring", "configuration_status": "queued"},
    ),
    "our policy cannot be written": Line(
        lambda w: apply._postpone_or_fail(
            w.anew(w.configuration),
            w.configuration.claimed_at,
            errors.OwnAccessBroken(retry_after=30, aws_code="x", action="x", aws_request_id=""),
        ),
        {"configuration_status": "queued"},
    ),
    "a test passes": Line(lambda w: runner._pass(w.anew(w.test), w.test.claimed_at, _findings("pass"))),
    "a test fails": Line(lambda w: runner._fail(w.anew(w.test), w.test.claimed_at, _findings("fail"))),
    "a test is cancelled": Line(lambda w: runner._cancel(w.anew(w.test), w.test.claimed_at)),
    "our side works": Line(lambda w: runner._our_side_works(w.anew(w.test), w.test.claimed_at)),
    "a key is activated": Line(lambda w: activation.activate(w.anew(w.prepared), w.anew(w.test))),
    "an activation is due": Line(lambda w: activation.attend(w.anew(w.prepared)), before=World.due),
    "the log is followed": Line(lambda w: follow.follow()),
    "a drill is followed": Line(lambda w: measuring.follow_all(), {"drill": True}),
    "an organisation is closed": Line(
        lambda w: closing_service._erase(w.my_tenant, w.closing("queued"), actor=SYSTEM), CLOSABLE
    ),
    "our policy takes somebody out": Line(lambda w: apply._say_who_was_taken_out(w.role, {w.prepared.role_arn})),
    "an incident opens": Line(
        lambda w: blame._open(w.role, "tests", [health_of(w.serving)]),
        {"serving_status": "suspended", "suspended_by": "aws"},
    ),
}
ALL = OPERATIONS | MACHINES


def _made(w: World) -> BranchKey | None:
    made = BranchKey(tenant=w.tenant, registration=w.serving, key_arn=w.serving.key_arn, wrapped=b"y")
    try:
        branchkeys._put_in_place(w.my_tenant, made, instead_of=w.anew(w.branch_key))
    except IntegrityError:  # as `branchkeys.make` does: another maker was first
        return None
    return made


def _findings(verdict: str) -> dict[str, Judgement]:
    """Return a verdict for each check: all pass, or all that is not ours or a warning fails."""
    return {
        each.code: Judgement(Verdict(verdict) if each.step != 5 and not each.is_warning else Verdict.PASS)
        for each in CHECKS
    }


def _written() -> Any:
    from keys.aws import iam

    return iam.Written(policy_arn="arn:aws:iam::999900001111:policy/p", version="v1", document={}, request_id="r")


# --- the table is complete -----------------------------------------------------------------------------------------


def test_every_operation_of_the_services_has_its_line() -> None:
    found = {
        f"{app}.{name}"
        for app, module in (("tenants", tenant_services), ("keys", key_services), ("support", support_services))
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith("_")
        and function.__module__.startswith(f"{app}.services")
        and ("actor" in inspect.signature(function).parameters or hasattr(function, "__wrapped__"))
    }
    missing = found - OPERATIONS.keys() - ELSEWHERE.keys()
    assert not missing, f"give these a line in OPERATIONS of {__file__}: what it needs, and the call"
    assert OPERATIONS.keys() | ELSEWHERE.keys() == found


# --- all pairs -----------------------------------------------------------------------------------------------------

PLATFORM_KEY = "arn:aws:kms:eu-central-1:999900001111:key/1234abcd-12ab-34cd-56ef-1234567890ab"
SHARES = 5  # odd, so that each share has pairs of both orders; they run side by side
# Two operations that both lock the tenant's row before anything else run one behind the other, and cannot take what the
# other one holds. They are two thirds of all pairs: one in so many is tried, and all of them with FULL=1.
SAMPLE = 1 if os.environ.get("FULL") else 8
OF_THE_TENANT = re.compile(r'FROM "tenants_tenant" .*FOR NO KEY UPDATE', re.DOTALL)


@dataclass
class Seen:
    """What a connection did."""

    has_locked: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    conflicts: list[str] = field(default_factory=list)
    first_lock: str = ""

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        try:
            result = execute(sql, params, many, context)
        except Error as error:
            if database.is_conflict(error):
                self.conflicts.append(sql)
            raise
        if LOCKS.search(sql) and not self.has_locked.is_set():
            self.first_lock = sql
            self.has_locked.set()
            assert self.may_go_on.wait(30)
        return result


def attempt(line: Line, world: World, seen: Seen) -> str:
    try:
        with connection.execute_wrapper(seen):
            line.call(world)
    except DomainError as error:
        return error.code
    except runner.Lost:  # its claim is gone: `runner.run` leaves it at that
        return "lost"
    except Exception as error:  # what would be a 500
        return repr(error)
    finally:
        seen.has_locked.set()
    return "done"


def backend() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def waits(pid: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted", [pid])
        return bool(cursor.fetchone()[0])


def one_against_the_other(
    first: Line, second: Line, world: World, one: ThreadPoolExecutor, two: ThreadPoolExecutor, pid: int
) -> tuple[list[str], list[str], str]:
    """Return how both ended, what PostgreSQL ended for the other one's sake, and the first lock of the first."""
    seen, other = Seen(), Seen()
    other.may_go_on.set()
    leads = one.submit(attempt, first, world, seen)
    assert seen.has_locked.wait(30)
    follows: Future[str] = two.submit(attempt, second, world, other)
    while not follows.done() and not waits(pid):
        threading.Event().wait(0.002)
    seen.may_go_on.set()
    return [leads.result(60), follows.result(60)], seen.conflicts + other.conflicts, seen.first_lock


@contextmanager
def two_threads() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor, int]]:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as two:
        try:
            yield one, two, two.submit(backend).result()
        finally:
            for pool in (one, two):
                pool.submit(connections.close_all).result()


@pytest.mark.django_db
def test_alone_every_operation_is_done(settings: Any) -> None:
    """One that is refused each time would try nothing below; and what somebody did stands in the log."""
    settings.PLATFORM_KEY_ARN = PLATFORM_KEY
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    alone = Seen()
    alone.may_go_on.set()
    outcomes = {}
    for name, line in ALL.items():
        world = World(role, **line.needs)
        line.before(world)
        before = AuditEvent.objects.count()
        outcomes[name] = attempt(line, world, alone)
        if name in OPERATIONS.keys() - UNRECORDED and AuditEvent.objects.count() == before:
            outcomes[name] = "not recorded"
    assert {name: how for name, how in outcomes.items() if how != "done"} == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("share", range(SHARES))
def test_every_operation_against_every_other(share: int, settings: Any) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    settings.PLATFORM_KEY_ARN = PLATFORM_KEY
    role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
    wrong: dict[tuple[str, str], Any] = {}
    begins_with_tenant: dict[str, bool] = {}
    with two_threads() as (one, two, pid):
        pairs = enumerate(itertools.combinations_with_replacement(ALL.items(), 2))
        for number, pair in itertools.islice(pairs, share, None, SHARES):
            (name, first), (other, second) = pair if number % 2 else reversed(pair)  # each of them begins now and then
            if begins_with_tenant.get(name) and begins_with_tenant.get(other) and number % SAMPLE:
                continue
            with transaction.atomic():
                world = World(role, **(second.needs | first.needs))
                for before in {first.before, second.before}:
                    before(world)
            outcome, conflicts, lock = one_against_the_other(first, second, world, one, two, pid)
            begins_with_tenant[name] = begins_with_tenant.get(name, True) and bool(OF_THE_TENANT.search(lock))
            if conflicts or any("(" in how for how in outcome):
                wrong[name, other] = outcome, conflicts
    assert not wrong, "\n".join(f"{pair}: {how}" for pair, how in wrong.items())


# --- where it happens all the same ---------------------------------------------------------------------------------


class Twice:
    """Two transactions that each take one of two tenants and then want the other: one of them has to be ended."""

    def __init__(self) -> None:
        role = ServiceRole.objects.create(name="r", arn="arn:aws:iam::999900001111:role/r", unique_id="AROA1")
        self.tenants = [Tenant.objects.create(name=name, service_role=role) for name in "ab"]
        self.meet = threading.Barrier(2)
        self.runs: list[str] = []
        self.again = threading.Lock()  # where both were ended, they are tried again one after the other
        self.has_turn = threading.local()

    def crossing(self, mine: Tenant, other: Tenant) -> None:
        self.runs.append(mine.name)
        if len(self.runs) > 2:
            self.has_turn.yes = self.again.acquire(timeout=30)
        Tenant.objects.filter(pk=mine.pk).update(revocation_latency=1)
        if len(self.runs) <= 2:
            self.meet.wait(10)
        mine.name = f"{mine.name} changed"
        Tenant.objects.filter(pk=other.pk).update(revocation_latency=2)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["atomic", "run"])
def test_a_deadlock_is_tried_once_more_with_the_objects_as_they_were(way: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    world = Twice()
    names: list[str] = []

    @transactions.atomic
    def change(nothing: None, mine: Tenant, other: Tenant) -> None:
        names.append(mine.name)
        world.crossing(mine, other)

    def work(mine: int) -> None:
        one, other = (Tenant.objects.get(pk=world.tenants[number].pk) for number in (mine, 1 - mine))
        try:
            if way == "atomic":
                change(None, one, other)
            else:
                transactions.run(lambda: change(None, one, other))
        finally:
            connections.close_all()
            if getattr(world.has_turn, "yes", False):
                world.again.release()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [0, 1]))
    # Both, where each of the two finds the deadlock before the other one's locks are gone.
    assert len(world.runs) in {3, 4}, "one of the two was tried once more"
    assert set(names) == {"a", "b"}, "it found its objects as they were"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_what_fails_twice_is_a_503_of_every_entry_point(
    sqlstate: str, alice: Member, browser_of: Any, api_of: Any
) -> None:
    """A trigger ends the transaction as the database would, each time."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    path, api = f"tenants/{alice.tenant_id}", api_of(alice)
    browser = browser_of(alice)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE attempts")
        cursor.execute(
            "CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('attempts');"
            f" RAISE EXCEPTION 'ended' USING ERRCODE = '{sqlstate}'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER conflict BEFORE INSERT ON support_ticket FOR EACH ROW EXECUTE FUNCTION conflict()"
        )
    form = {"topic": "question", "subject": "s", "text": "t"}
    try:
        page = browser.post(f"/{path}/tickets/", form, headers={"referer": f"http://testserver/{path}/tickets/"})
        answer = api.post(f"/api/v1/{path}/tickets", form, content_type="application/json")
        kept = api.post(
            f"/api/v1/{path}/tickets", form, content_type="application/json", headers={"Idempotency-Key": "k"}
        )
        assert [each.status_code for each in (page, answer, kept)] == [503, 503, 503]
        assert all(each["Retry-After"] for each in (page, answer, kept))
        with connection.cursor() as cursor:
            cursor.execute("SELECT last_value FROM attempts")
            assert cursor.fetchone()[0] == 6, "each was tried twice"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER conflict ON support_ticket; DROP FUNCTION conflict; DROP SEQUENCE attempts")


@pytest.mark.django_db(transaction=True)
def test_no_other_error_is_tried_again() -> None:
    runs = []

    def work() -> None:
        runs.append(1)
        raise OperationalError("the connection is lost")

    with pytest.raises(OperationalError):
        transactions.run(work)
    assert runs == [1]
