"""Tickets of the system's own: a cause opens one, what corrects it closes it, and when it returns it opens it again.

A cause is a topic and a registration: step 5 of it, or its key in service.
"""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

from django.conf import settings
from django.urls import reverse

from byokportal import clock, words
from byokportal.translation import lazy
from keys import services as key_services
from keys.models import EncryptionTest, KeyRegistration, RevocationDrill, RoleConfiguration
from support import services
from support.models import Notice, Ticket
from tenants import audit, onboarding
from tenants.audit import SYSTEM
from tenants.models import AuditEvent, ServiceRole, Tenant

Status, Topic = Ticket.Status, Ticket.Topic
PASSED = lazy("The encryption test passed and the key is in service.")
TESTED = lazy("The encryption test passed. The key goes into service when you want it.")
RECOVERED = lazy("AWS lets us use your key again, and it is in service.")
IS_CONFIGURED = lazy("Our side is configured now.")
CONFIGURED = f"{IS_CONFIGURED} {lazy('The encryption test goes on by itself.')}"
SUBJECTS = {
    Topic.CONFIGURATION: lazy("Service-side configuration (step 5)"),
    Topic.KEY: lazy("AWS refuses us the use of your key"),
}
BY_ITSELF = lazy("Our side is then configured and tested by itself.")
APPROVED_FIRST = lazy("Kore.ai support approves the configuration first.")
SHARED = lazy("The CMK ARN {key_arn} and the Role ARN {role_arn} were shared.")
REFUSED = (
    lazy("AWS refuses us the use of your key {key_arn} through the role {role_arn}: {what}."),
    lazy("What it protects opens no more."),
)
ON_PURPOSE = (
    lazy("If you took the key back on purpose, there is nothing to do."),
    lazy(
        "If not, undo what changed in your AWS account; the page of your key says what AWS answers and what we need: "
        "{page}"
    ),
)
ASKED_AGAIN = (
    lazy("We ask AWS again and again."),
    lazy("When it says yes twice, the key is in service and this ticket closes itself."),
)
FOUND = lazy("The encryption test found something to change.")
CHANGE, REASON = lazy("Step {step}, {step_name}: {remedy}"), lazy("Step {step}: {what}")
SEE_PAGE = lazy("The page of the test has each document as it has to read, and what changes in it: {page}")
CORRECT = (
    lazy("Correct this, then test again from the setup page."),
    lazy("You need not share the ARNs again unless one of them changes."),
)
STEPS = {Topic.CONFIGURATION: 5}


def registration_of(event: AuditEvent, tenant: Tenant) -> KeyRegistration | None:
    """Return the registration that the event is about; its target is one, or a test or a configuration of one."""
    try:
        target = uuid.UUID(json.loads(event.payload)["target"])
    except ValueError:
        return None
    if event.name.startswith("keys.test."):
        test = EncryptionTest.objects.of(tenant).filter(pk=target).select_related("registration").first()
        return test.registration if test else None
    if event.name.startswith("keys.configuration."):
        configuration = RoleConfiguration.objects.of(tenant).filter(pk=target).select_related("registration").first()
        return configuration.registration if configuration else None
    return KeyRegistration.objects.of(tenant).filter(pk=target).first()


def open_ticket_of(tenant: Tenant, topic: str, registration: KeyRegistration) -> Ticket | None:
    """Return the open ticket of a cause."""
    return Ticket.objects.of(tenant).open().filter(topic=topic, registration_id=registration.pk).first()


def broken(tenant: Tenant, topic: Ticket.Topic, registration: KeyRegistration, *, text: str, status: str) -> Ticket:
    """Say in the ticket of a cause what is wrong: the open one, the one that was closed lately, or a new one.

    Args:
        status: on whom it waits.
    """
    ticket = open_ticket_of(tenant, topic, registration)
    if ticket is None:
        closed = Ticket.objects.of(tenant).filter(
            topic=topic,
            registration_id=registration.pk,
            merged_into=None,
            closed_at__gt=clock.now() - timedelta(days=settings.TICKET_REOPEN_DAYS),
        )
        ticket = closed.order_by("-closed_at").first()
        if ticket is not None:
            services.reopen_ticket(ticket, reason=lazy("What it was about is back."), status=status, actor=SYSTEM)
    if ticket is not None:
        services.answer_ticket(ticket, text=text, status=status, actor=SYSTEM)
        return ticket
    return services.open_ticket(
        tenant,
        topic=topic,
        step=STEPS.get(topic),
        subject=SUBJECTS[topic],
        text=text,
        status=status,
        registration_id=registration.pk,
        actor=SYSTEM,
    )


def corrected(tenant: Tenant, topic: Ticket.Topic, registration: KeyRegistration, sentence: str) -> None:
    """Close the ticket of a cause, if one is open, with a sentence to the customer."""
    ticket = open_ticket_of(tenant, topic, registration)
    if ticket is not None:
        services.close_ticket(ticket, reason=sentence, actor=SYSTEM)


def shared(tenant: Tenant, registration: KeyRegistration) -> None:
    """Both ARNs were shared: our side is configured by itself, or a person approves it first."""
    automatic = settings.SERVICE_SIDE_APPROVAL == "automatic"
    status = Status.IN_PROGRESS if automatic else Status.WAITING_FOR_KORE
    shared_arns = SHARED.format(key_arn=registration.key_arn, role_arn=registration.role_arn)
    text = f"{shared_arns} {BY_ITSELF if automatic else APPROVED_FIRST}"
    broken(tenant, Topic.CONFIGURATION, registration, text=text, status=status)
    # the activation may have been followed first: commits land out of order
    if registration.status in {*KeyRegistration.SERVING, KeyRegistration.Status.RETIRING}:
        corrected(tenant, Topic.CONFIGURATION, registration, PASSED)
    elif registration.waits_for_activation:
        corrected(tenant, Topic.CONFIGURATION, registration, TESTED)


def configured(tenant: Tenant, registration: KeyRegistration) -> None:
    """Our policy is as it should be: what waited for that goes on, or is done where no test follows."""
    ticket = open_ticket_of(tenant, Topic.CONFIGURATION, registration)
    if ticket is None or ticket.status != Status.WAITING_FOR_KORE:
        return
    if registration.status in KeyRegistration.IN_PREPARATION:
        services.answer_ticket(ticket, text=CONFIGURED, status=Status.IN_PROGRESS, actor=SYSTEM)
    else:
        services.close_ticket(ticket, reason=IS_CONFIGURED, actor=SYSTEM)


def refused(event: AuditEvent, tenant: Tenant) -> None:
    """AWS refuses us a key in service, and that is the tenant's doing: their ticket says what to do, unless they
    rehearse it."""
    registration = registration_of(event, tenant)
    if registration is None or registration.status != KeyRegistration.Status.SUSPENDED:
        return  # it is over already, or something else came meanwhile
    if RevocationDrill.objects.of(tenant).open().exists():
        return
    page = settings.BASE_URL + reverse("portal:key", args=[tenant.pk])
    facts = {
        "key_arn": registration.key_arn,
        "role_arn": registration.role_arn,
        "what": words.label(str(audit.data_of(event)["reason"])),
        "page": page,
    }
    text = "\n\n".join(" ".join(sentences).format(**facts) for sentences in (REFUSED, ON_PURPOSE, ASKED_AGAIN))
    broken(tenant, Topic.KEY, registration, text=text, status=Status.WAITING_FOR_TENANT)


def close_of_keys_out_of_use(tenant: Tenant) -> None:
    """Close the tickets about keys that are no longer in service: another key, or the platform's, took their place."""
    waiting = Ticket.objects.of(tenant).open().filter(topic=Topic.KEY, registration_id__isnull=False)
    for ticket in waiting:
        if not KeyRegistration.objects.of(tenant).serving().filter(pk=str(ticket.registration_id)).exists():
            services.close_ticket(ticket, reason=lazy("Another key has taken its place."), actor=SYSTEM)


def remedies_text(event: AuditEvent, registration: KeyRegistration, *, with_documents: bool = False) -> str:
    """Return the message to the tenant: every check that failed, with its step and its remedy."""
    test = registration.tests.exclude(finished_at=None).order_by("-finished_at").first()
    remedies = [
        CHANGE.format(step=step, step_name=onboarding.BY_NUMBER[step].name, remedy=remedy)
        for step, remedy in (key_services.remedies_of(test, with_documents=with_documents) if test else ())
    ]
    if remedies and test:
        page = settings.BASE_URL + reverse("portal:test", args=[registration.tenant_id, test.pk])
        remedies.append(SEE_PAGE.format(page=page))
    if not remedies:
        data = audit.data_of(event)
        remedies = [REASON.format(step=data.get("step"), what=words.label(data.get("why") or data.get("reason")))]
    return "\n\n".join([FOUND, *remedies, " ".join(CORRECT)])


def is_known(tenant: Tenant, code: str) -> bool:
    """Tell whether support has heard of this fault of the tenant's service role,
    and a ticket about it still waits for us."""
    # another tenant's event may be followed right now
    ServiceRole.objects.select_for_update(no_key=True).get(pk=tenant.service_role_id)
    waiting = Ticket.objects.filter(status=Status.WAITING_FOR_KORE, tenant__service_role=tenant.service_role_id)
    tickets = [str(pk) for pk in waiting.values_list("pk", flat=True)]
    mails = Notice.objects.filter(template="kore-needed", tenant__service_role=tenant.service_role_id)
    return mails.filter(context__code=code, context__ticket__in=tickets).exists()
