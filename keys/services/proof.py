"""Operations around the proof: the encryption test, and what the tenant pastes (steps 2 to 5)."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from datetime import datetime
from typing import get_args

from django.conf import settings
from django.db.models import QuerySet, Subquery

from byokportal import clock
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from keys import errors, health, lifecycle, tasks
from keys.models import CheckResult, EncryptionTest, KeyRegistration, RoleConfiguration
from keys.proof import pasted
from keys.proof.encryption_test import remedies
from keys.proof.encryption_test.report import comparison, presentation, remedy_order
from keys.proof.pasted.findings import Values
from keys.proof.pasted.outputs import recognition
from keys.services import acceptance
from keys.services.documents import access_of, beside_of
from keys.services.registration import shown_registration
from tenants import audit, onboarding, roles, transactions
from tenants.audit import Actor
from tenants.models import OnboardingStep, Tenant
from tenants.services import reason_of

Status = KeyRegistration.Status
Step = OnboardingStep.Status
Configuration = RoleConfiguration


def remedies_of(test: EncryptionTest, *, with_documents: bool = False) -> list[tuple[int, str]]:
    """Return step and change, in the order of the remedies, in words for a mail or a ticket:
    without the External ID.

    Args:
        with_documents: below each change stands the corrected document, in full.
    """
    external_id = test.tenant.external_id
    found = remedy_order.in_order(test.checks.all())
    if with_documents:
        return [(one.step, _text_of(one, external_id) if one.changes else f"{one.headline}.") for one in found]
    return [
        (remedy.step, remedies.away_from_the_page(change, external_id))
        for remedy in found
        for change in remedy.changes or (f"{remedy.headline}.",)
    ]


def say_again(text: str) -> str:
    """Return words of ours that a ticket or a mail keeps in English, remedies among them, in the reader's language."""
    return remedies.again(text)


def likely_changes_of(test: EncryptionTest) -> list[tuple[int, datetime, str]]:
    """Return what will have to be changed unless AWS's answers pass by themselves: step, from when on it is due, and
    the change in words with the corrected document, for a mail or a ticket: without the External ID. Nothing once
    the test is over."""
    if test.finished_at:
        return []
    return [
        (remedy.step, remedy.counts_at, _text_of(remedy, test.tenant.external_id))
        for remedy in remedy_order.likely(test.checks.all())
        if remedy.counts_at is not None
    ]


def _text_of(remedy: remedy_order.Remedy, external_id: str) -> str:
    return remedies.with_document(remedy.changes, remedy.first.corrected, external_id)


@transactions.atomic
def start_test(tenant: Tenant, *, actor: Actor, reason: str = "", keep_until: datetime | None = None) -> EncryptionTest:
    """Ask for a fresh proof of the registration; while one runs, that one is returned.

    Args:
        reason: required of support staff.
        keep_until: "keep testing until …": the change window of the tenant, at most a week away.

    Raises:
        NoRegistration: nothing is shared yet.
        RegistrationBusy: our side is being configured; the test follows by itself.
        RoleRefusedByIam: no test can pass with this role; another one has to be given first.
        TokenNotMarked, FreshSignInNeeded: a passed test would put a replacement in service that was rejected before.
    """
    roles.require(actor, "keys.test", tenant)
    if actor.kind == "staff":
        reason = reason_of(reason)
    now = clock.now()
    if keep_until is not None and not 0 < (keep_until - now).total_seconds() <= 7 * 86_400:
        raise InvalidInput(errors={"keep_until": [_("Choose a time within the next seven days.")]})
    registration = shown_registration(tenant)
    if registration is None or registration.status in {Status.DRAFT, Status.RETIRING, Status.RETIRED}:
        raise errors.NoRegistration
    if registration.status in {Status.SUBMITTED, Status.CONFIGURING}:
        raise errors.RegistrationBusy(status=registration.status_in_english, wanted="tested")
    if registration.status == Status.REJECTED and registration.reason == errors.RoleRefusedByIam.code:
        raise errors.RoleRefusedByIam  # our policy does not name the role, so a test could only wait for us
    # The test proves; what brings a stopped key back is that AWS answers well twice, so it is asked that too, at once.
    is_stopped = (
        registration.status in {Status.SUSPENDED, Status.UNREACHABLE} and not registration.is_stopped_by_a_person
    )
    if is_stopped and health.ask_again(registration, is_a_person=True):
        tasks.enqueue(tasks.probe, registration_id=str(registration.pk))
    running: EncryptionTest | None = EncryptionTest.objects.filter(registration=registration).open().first()
    if running is not None:
        EncryptionTest.objects.filter(pk=running.pk).update(keep_until=keep_until, due_at=now)
        if keep_until != running.keep_until:  # who presses twice asked once
            audit.record("keys.test.requested", tenant=tenant, actor=actor, target=running, reason=reason)
        # Who asks for it has corrected something just now, as below.
        KeyRegistration.objects.filter(pk=registration.pk, status=Status.TESTING).update(changed_at=now)
        tasks.enqueue(tasks.run_test, test_id=str(running.pk))
        return running
    # Who asks for another test of what is tested already may have changed something just now: as above.
    KeyRegistration.objects.filter(pk=registration.pk, status=Status.TESTING).update(changed_at=now)
    if registration.status == Status.REJECTED:
        if registration.replaces_id is not None and actor.is_tenants:
            roles.require(actor, "keys.replace", tenant)
        # Somebody corrected something just now: IAM needs time again before a refusal means anything.
        lifecycle.move(registration, Status.TESTING, actor=actor, reason="tested again", changed_at=now)
        if registration.replaces_id is None:
            onboarding.advance(tenant, 5, Step.IN_PROGRESS, actor=actor)
    test = EncryptionTest.objects.create(
        tenant=tenant, registration=registration, requested_by=actor.label[:200], due_at=now, keep_until=keep_until
    )
    audit.record("keys.test.requested", tenant=tenant, actor=actor, target=test, reason=reason)
    tasks.enqueue(tasks.run_test, test_id=str(test.pk))
    return test


def read_test(test: EncryptionTest) -> presentation.TestReport:
    """Return a test as people read it, in the portal and in the back office; reads its checks and its registration."""
    return presentation.read(test, list(test.checks.all()), test.registration)


def read_newest_test(registration: KeyRegistration) -> presentation.TestReport | None:
    """Return the newest test of a registration as people read it, by one query; None while it has no check yet."""
    newest = EncryptionTest.objects.filter(registration=registration).order_by("-created_at").values("pk")[:1]
    rows = list(CheckResult.objects.filter(test=Subquery(newest)).select_related("test"))
    return presentation.read(rows[0].test, rows, registration) if rows else None


def compare_tests(tests: QuerySet[EncryptionTest], *, start: int, count: int) -> comparison.Comparison:
    """Return runs side by side.

    Args:
        tests: newest first.
        start: how many to pass over.
        count: how many to show; the one after them is read too, for the last one to be compared with.
    """
    runs = tests.select_related("registration").prefetch_related("checks")[start : start + count + 1]
    return comparison.compare(list(runs), shown=count)


def check_policy(tenant: Tenant, *, kind: str, text: str) -> pasted.PastedPolicy:
    """Read a policy that the tenant pasted, before any AWS call; nothing of it is kept."""
    return pasted.lint(_kind(kind), text, replace(_own_values(tenant), rules=acceptance.rules_of(tenant)))


def granted_by_policy(tenant: Tenant, *, kind: str, text: str) -> dict[str, str]:
    """Return what a policy that the tenant pasted gives us by itself: `sts:AssumeRole`, or each action of its
    documents, as `given`, `unseen` (as far as we can see) or `missing`."""
    values = replace(_own_values(tenant), rules=acceptance.rules_of(tenant))
    asked = ("sts:AssumeRole",) if kind == "trust" else values.access.actions
    found = pasted.granted(_kind(kind), text, values)
    return {each: found.get(each, "missing") for each in asked}


def _kind(name: str) -> pasted.Kind:
    if name not in get_args(pasted.Kind):
        raise InvalidInput(errors={"kind": [_("Choose trust, permissions or key.")]})
    return name  # type: ignore[return-value]


def _own_values(tenant: Tenant) -> Values:
    """Return what the tenant's texts are compared with."""
    registration = shown_registration(tenant)
    values = Values(access_of(tenant, registration), beside_of(registration))
    egress = settings.EGRESS_ADDRESSES
    return replace(values, address=str(ipaddress.ip_network(egress[0])[0])) if egress else values


def read_output(tenant: Tenant, *, text: str) -> recognition.PastedOutput:
    """Read what a command of step 4 printed; nothing of it is kept."""
    return recognition.read(text, _own_values(tenant))
