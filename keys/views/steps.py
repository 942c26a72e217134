"""Portal pages of the six steps, their documents, and what a step's form saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal.errors import NotFound
from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services
from keys.errors import ArnsMissing, RoleRefusedByIam
from keys.forms import (
    DocumentChoicesForm,
    KeyArnForm,
    OutputForm,
    OutputsForm,
    PolicyForm,
    RoleArnForm,
    ShareForm,
    TestForm,
    ValidationForm,
)
from keys.models import EncryptionTest, KeyRegistration, RoleConfiguration
from keys.policies.documents import FILES
from keys.proof.encryption_test.report import chain
from keys.proof.encryption_test.report.presentation import TestReport
from keys.views import pasted
from tenants import access, onboarding, portal, roles
from tenants.models import Member, Tenant

FORMS: dict[int, type[forms.Form]] = {1: KeyArnForm, 2: RoleArnForm, 4: ValidationForm, 6: ShareForm}
# Step → the documents on its page, and what its paste box reads.
DOCUMENTS = {
    2: ("cloudformation", "terraform", "cli", "trust-policy", "permissions-policy"),
    3: ("key-policy-statement",),
}
PASTED = {2: ("trust", "permissions"), 3: ("key",)}
AFTER = {1: 2, 2: 3, 4: 5}  # where the page leads once its form is saved; step 6 leads back to the tracker
SAVED = {
    1: lazy("The CMK ARN is saved. Next: the IAM role."),
    2: lazy("The Role ARN is saved. Next: the key policy."),
    4: lazy("Noted."),
    6: "Both ARNs are shared. The rest is on our side; the steps below show how it goes.",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document as a page shows it; without text while ARNs are missing."""

    name: str
    text: str
    missing: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What is going on: our configuration, then the test."""

    registration: KeyRegistration | None
    configuration: RoleConfiguration | None
    is_configuring: bool
    reading: TestReport | None  # of the newest test
    among: list[KeyRegistration]  # all of the tenant that are not retired


def document_of(texts: services.Texts, name: str) -> Document:
    try:
        return Document(name, texts.document(name), "")
    except ArnsMissing as error:  # not a refusal here: the page says which step gives the ARN
        return Document(name, "", error.sentence)


def progress_of(tenant: Tenant, number: int = 5) -> Progress:
    """Read what is going on, as far as the page of one step shows it: all but step 5 need no more than what the newest
    test has to say."""
    among = list(KeyRegistration.objects.of(tenant).not_retired())
    registration = services.shown_among(tenant, among)
    if number != 5:
        reading = services.read_newest_test(registration) if registration else None
        return Progress(registration, None, False, reading, among)
    configuration = RoleConfiguration.objects.of(tenant).filter(registration=registration).first()
    tests = EncryptionTest.objects.of(tenant).filter(registration=registration)
    test = tests.select_related("registration").prefetch_related("checks").first()
    configuring = configuration is not None and configuration.status in {
        RoleConfiguration.Status.QUEUED,
        RoleConfiguration.Status.PROPAGATING,
    }
    is_testing = test is not None and test.finished_at is None
    reading = services.read_test(test) if test else None
    return Progress(registration, configuration, configuring and not is_testing, reading, among)


def arns_of(registration: KeyRegistration | None) -> dict[str, str]:
    return {
        "key_arn": registration.key_arn if registration else "",
        "role_arn": registration.role_arn if registration else "",
    }


def _save(request: HttpRequest, member: Member, number: int, data: dict[str, Any]) -> None:
    """Do the operation of one step's form."""
    tenant, actor = member.tenant, portal.actor(request, member)
    match number:
        case 1 | 2:
            services.save_draft(tenant, **data, actor=actor)
        case 4:
            roles.require(actor, "keys.register", tenant)
            onboarding.advance(tenant, 4, data["outcome"], actor=actor)
        case 6:
            services.submit_registration(tenant, actor=actor)


@login_required
@require_http_methods(["GET", "POST"])
def step(request: HttpRequest, tenant: UUID, number: int) -> HttpResponse:
    """Show one step of the guide; POST saves what it asks for."""
    member = access.member_for(request, tenant)
    if number not in onboarding.BY_NUMBER or (request.method == "POST" and number not in FORMS):
        raise NotFound
    progress = progress_of(member.tenant, number)
    form_class = FORMS.get(number, forms.Form)
    form = form_class(request.POST) if request.method == "POST" else form_class(initial=arns_of(progress.registration))
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _save(request, member, number, form.cleaned_data)
            messages.success(request, _(SAVED[number]))
            # The tracker is about the key that serves: how a replacement goes is seen on the page of its test.
            after = 5 if number == 6 and _preparing(progress.registration) else AFTER.get(number)
            return (
                redirect("portal:step", member.tenant.pk, after)
                if after
                else redirect("portal:tracker", member.tenant.pk)
            )
    return render(request, "portal/step.html", page_of(member, number, form, progress))


@login_required
@require_POST
def outputs(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Take both ARNs out of what a deployment printed (step 2)."""
    member = access.member_for(request, tenant)
    form = OutputsForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            registration = services.save_outputs(
                member.tenant, text=form.cleaned_data["outputs"], actor=portal.actor(request, member)
            )
            messages.success(request, _saved(registration))
            return redirect("portal:step", member.tenant.pk, _after_outputs(member.tenant, registration))
    return _step_2(request, member, outputs_form=form)


def _saved(registration: KeyRegistration) -> str:
    key, role = registration.key_arn, registration.role_arn
    if key and role:
        return _("We keep the CMK ARN %(key)s and the Role ARN %(role)s.", key=key, role=role)
    return _("We keep the Role ARN %(role)s.", role=role) if role else _("We keep the CMK ARN %(key)s.", key=key)


def _after_outputs(tenant: Tenant, registration: KeyRegistration) -> int:
    """Return the step that comes next: a key that the documents made has its policy already."""
    if not registration.key_arn or not registration.role_arn:
        return 3 if registration.role_arn else 2
    return 6 if services.texts_of(tenant, registration).choices.makes_key else 3


@login_required
@require_POST
def choose_documents(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Keep what the documents say beside the guide's policies (step 2)."""
    member = access.member_for(request, tenant)
    form = DocumentChoicesForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            services.choose_documents(member.tenant, form.choices(), actor=portal.actor(request, member))
            messages.success(request, _("Every document on these pages says it now."))
            return redirect("portal:step", member.tenant.pk, 2)
    return _step_2(request, member, choices_form=form)


def _step_2(request: HttpRequest, member: Member, **refused: forms.Form) -> HttpResponse:
    """Show step 2 with a form that was refused."""
    progress = progress_of(member.tenant, 2)
    form = RoleArnForm(initial=arns_of(progress.registration))
    return render(request, "portal/step.html", {**page_of(member, 2, form, progress), **refused})


def page_of(member: Member, number: int, form: forms.Form, progress: Progress) -> dict[str, object]:
    tenant = member.tenant
    steps = onboarding.overview(tenant)
    texts = services.texts_of(tenant, progress.registration, among=progress.among) if number in DOCUMENTS else None
    return portal.page(
        member,
        step=steps[number - 1],
        steps=steps,
        form=form,
        documents={
            document.name.replace("-", "_"): document
            for document in (document_of(texts, name) for name in DOCUMENTS.get(number, ()) if texts)
        },
        choices=texts.choices if texts else None,
        narrow=texts.narrow if texts else "",
        choices_form=DocumentChoicesForm(initial=DocumentChoicesForm.initial_of(texts.choices)) if texts else None,
        quick_create_link=texts.quick_create_link if texts else "",
        outputs_form=OutputsForm(),
        proposal=services.pending_proposal(tenant) if number in {1, 2, 6} else None,
        policy_forms=[PolicyForm(initial={"kind": kind}, auto_id=f"{kind}-%s") for kind in PASTED.get(number, ())],
        start=start_of(tenant),
        arns=arns_of(progress.registration),
        commands=pasted.commands_of(tenant, progress.registration) if number == 4 else (),
        output_form=OutputForm(),
        registration=progress.registration,
        progress=progress,
        remedies=[remedy for remedy in progress.reading.remedies if remedy.step == number] if progress.reading else [],
        likely=[remedy for remedy in progress.reading.likely if remedy.step == number] if progress.reading else [],
        reading=progress.reading,
        not_begun=chain.of(()),
        role_refusal=_role_refusal(progress.registration) if number in {2, 5} else "",
        preparing=_preparing(progress.registration),
        test_form=TestForm(),
    )


def _role_refusal(registration: KeyRegistration | None) -> str:
    """Return what to do where IAM took no policy that names the role: no test has run that would say it."""
    is_one = (
        registration is not None
        and registration.status == KeyRegistration.Status.REJECTED
        and registration.reason == RoleRefusedByIam.code
    )
    return RoleRefusedByIam.detail if is_one else ""


def _preparing(registration: KeyRegistration | None) -> KeyRegistration | None:
    """Return the registration of the page if it is to take over from one that serves."""
    is_one = (
        registration is not None and registration.replaces_id and registration.status in KeyRegistration.IN_PREPARATION
    )
    return registration if is_one else None


def start_of(tenant: Tenant) -> dict[str, str]:
    role = tenant.service_role
    return {"service_role_arn": role.arn, "aws_account_id": role.account_id, "external_id": tenant.external_id}


@login_required
@require_GET
def document(request: HttpRequest, tenant: UUID, name: str) -> HttpResponse:
    """Give one document as a file."""
    member = access.member_for(request, tenant)
    text = services.document(member.tenant, name)
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{FILES[name]}"'
    answer["Cache-Control"] = "no-store"
    return answer
