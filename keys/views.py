"""Portal pages of the key: the six steps one by one, the tests, the key in service."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from byokportal.errors import NotFound
from keys import drills, pasted, services
from keys.checks import chain
from keys.checks.reading import Reading
from keys.errors import ArnsMissing
from keys.forms import (
    KeyArnForm,
    LatencyForm,
    OutputForm,
    PolicyForm,
    ReasonForm,
    RoleArnForm,
    ShareForm,
    TestForm,
    ValidationForm,
)
from keys.models import EncryptionTest, KeyRegistration, RevocationDrill, RoleConfiguration
from tenants import access, onboarding, portal, roles
from tenants.models import Member, Tenant

FORMS: dict[int, type[forms.Form]] = {1: KeyArnForm, 2: RoleArnForm, 4: ValidationForm, 6: ShareForm}
# Step → the documents on its page, and what its paste box reads.
DOCUMENTS = {
    2: ("trust-policy", "permissions-policy", "cloudformation", "terraform", "cli"),
    3: ("key-policy-statement",),
}
PASTED = {2: ("trust", "permissions"), 3: ("key",)}
RUNS_A_PAGE = 6  # columns of the comparison
AFTER = {1: 2, 2: 3, 4: 5}  # where the page leads once its form is saved; step 6 leads back to the tracker
SAID = {
    1: "The CMK ARN is saved. Next: the IAM role.",
    2: "The Role ARN is saved. Next: the key policy.",
    4: "Noted.",
    6: "Both ARNs are shared. Our side is being configured and tested; this page shows how it goes.",
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
    reading: Reading | None  # of the newest test


def _document(tenant: Tenant, name: str) -> Document:
    try:
        return Document(name, services.document(tenant, name), "")
    except ArnsMissing as error:  # not a refusal here: the page says which step gives the ARN
        return Document(name, "", str(error))


def _progress(tenant: Tenant) -> Progress:
    registration = services.shown_registration(tenant)
    configuration = RoleConfiguration.objects.of(tenant).filter(registration=registration).first()
    tests = EncryptionTest.objects.of(tenant).filter(registration=registration)
    test = tests.select_related("registration").prefetch_related("checks").first()
    configuring = configuration is not None and configuration.status in {
        RoleConfiguration.Status.QUEUED,
        RoleConfiguration.Status.PROPAGATING,
    }
    is_testing = test is not None and test.finished_at is None
    return Progress(
        registration, configuration, configuring and not is_testing, services.read_test(test) if test else None
    )


def _arns(registration: KeyRegistration | None) -> dict[str, str]:
    return {
        "key_arn": registration.key_arn if registration else "",
        "role_arn": registration.role_arn if registration else "",
    }


def _save(member: Member, number: int, data: dict[str, str]) -> None:
    """Do the deed of one step's form."""
    tenant, actor = member.tenant, portal.actor(member)
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
    member = access.member_for(request.user, tenant)
    if number not in onboarding.BY_NUMBER or (request.method == "POST" and number not in FORMS):
        raise NotFound
    progress = _progress(member.tenant)
    form_class = FORMS.get(number, forms.Form)
    form = form_class(request.POST) if request.method == "POST" else form_class(initial=_arns(progress.registration))
    if request.method == "POST" and form.is_valid():
        with portal.refusals_on(form):
            _save(member, number, form.cleaned_data)
            messages.success(request, SAID[number])
            return (
                redirect("portal:step", member.tenant.pk, AFTER[number])
                if number in AFTER
                else redirect("portal:tracker", member.tenant.pk)
            )
    return render(request, "portal/step.html", _step_page(member, number, form, progress))


def _step_page(member: Member, number: int, form: forms.Form, progress: Progress) -> dict[str, object]:
    tenant = member.tenant
    steps = onboarding.overview(tenant)
    return portal.page(
        member,
        step=steps[number - 1],
        steps=steps,
        form=form,
        documents={
            document.name.replace("-", "_"): document
            for document in (_document(tenant, name) for name in DOCUMENTS.get(number, ()))
        },
        policy_forms=[PolicyForm(initial={"kind": kind}, auto_id=f"{kind}-%s") for kind in PASTED.get(number, ())],
        start=_start(tenant),
        arns=_arns(progress.registration),
        commands=pasted.commands_of(progress.registration) if number == 4 else (),
        output_form=OutputForm(),
        registration=progress.registration,
        progress=progress,
        mends=[mend for mend in progress.reading.mends if mend.step == number] if progress.reading else [],
        reading=progress.reading,
        not_begun=chain.of(()),
        test_form=TestForm(),
    )


def _start(tenant: Tenant) -> dict[str, str]:
    role = tenant.service_role
    return {"service_role_arn": role.arn, "aws_account_id": role.account_id, "external_id": tenant.external_id}


@login_required
@require_GET
def document(request: HttpRequest, tenant: UUID, name: str) -> HttpResponse:
    """Give one document as a file."""
    member = access.member_for(request.user, tenant)
    text = services.document(member.tenant, name)
    suffix = {"terraform": "tf", "cli": "sh"}.get(name, "json")
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.{suffix}"'
    answer["Cache-Control"] = "no-store"
    return answer


@login_required
@require_http_methods(["GET", "POST"])
def tests(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the runs so far side by side; POST asks for a fresh proof."""
    member = access.member_for(request.user, tenant)
    if request.method == "POST":
        return _start_test(request, member)
    runs = EncryptionTest.objects.of(member.tenant)
    found = Paginator(runs, RUNS_A_PAGE).get_page(request.GET.get("page"))
    comparison = services.compare_tests(runs, start=max(found.start_index() - 1, 0), count=RUNS_A_PAGE)
    return render(request, "portal/tests.html", portal.page(member, found=found, comparison=comparison))


def _start_test(request: HttpRequest, member: Member) -> HttpResponse:
    form = TestForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            test = services.start_test(
                member.tenant, keep_until=form.cleaned_data["keep_until"], actor=portal.actor(member)
            )
            return redirect("portal:test", member.tenant.pk, test.pk)
    return render(
        request,
        "portal/step.html",
        {**_step_page(member, 5, forms.Form(), _progress(member.tenant)), "test_form": form},
    )


@login_required
@require_GET
def test(request: HttpRequest, tenant: UUID, test: UUID) -> HttpResponse:
    """Show one test; while it goes on, htmx asks again and gets what is new: nothing, or the part of the page that lives."""
    member = access.member_for(request.user, tenant)
    runs = EncryptionTest.objects.of(member.tenant).select_related("registration").prefetch_related("checks")
    found = runs.filter(pk=test).first()
    if found is None:
        raise NotFound
    reading = services.read_test(found)
    if request.htmx and request.GET.get("seen") == reading.seen:  # type: ignore[attr-defined]
        return HttpResponse(status=204)
    template = "portal/parts/live_test.html" if request.htmx else "portal/test.html"  # type: ignore[attr-defined]
    page = render(request, template, portal.page(member, reading=reading, test_form=TestForm()))
    return _say_when_it_matters(page, reading)


def _say_when_it_matters(page: HttpResponse, reading: Reading | None) -> HttpResponse:
    """Let step 5, which shows this part under its own status, ask for that status again: it changes with these."""
    changes = reading is not None and (reading.is_over or reading.tone == "ours")
    return trigger_client_event(page, "step-changed") if changes else page


@login_required
@require_GET
def test_progress(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what is going on from sharing to the test, as a fragment that htmx asks for until there is a test to follow."""
    member = access.member_for(request.user, tenant)
    progress = _progress(member.tenant)
    context = {"progress": progress, "reading": progress.reading, "not_begun": chain.of(()), "test_form": TestForm()}
    page = render(request, "portal/parts/test_progress.html", portal.page(member, **context))
    return page if progress.is_configuring else _say_when_it_matters(page, progress.reading)


# --- the key in service -------------------------------------------------------------------------------------


def _key_page(request: HttpRequest, member: Member, **given: object) -> HttpResponse:
    state = services.key_state(member.tenant)
    latency = member.tenant.revocation_latency
    context = {
        "state": state,
        "latency": latency,
        "latency_form": LatencyForm(initial={"seconds": latency}),
        "reason_form": ReasonForm(),
        "pressed": "",
        "drop": services.last_drop(member.tenant),
        "drill": RevocationDrill.objects.of(member.tenant).first(),
        **given,
    }
    return render(request, "portal/key.html", portal.page(member, **context))


@login_required
@require_GET
def key(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the key in service and its buttons."""
    return _key_page(request, access.member_for(request.user, tenant))


@login_required
@require_GET
def key_live(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the state and who has dropped what, as a fragment that htmx asks for again."""
    member = access.member_for(request.user, tenant)
    context = {"state": services.key_state(member.tenant), "drop": services.last_drop(member.tenant)}
    return render(request, "portal/parts/key_state.html", portal.page(member, **context))


@login_required
@require_POST
def suspend(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """The kill switch."""
    member = access.member_for(request.user, tenant)
    form = ReasonForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            services.suspend(member.tenant, reason=form.cleaned_data["reason"], actor=portal.actor(member))
            messages.success(
                request, "The key is suspended. Within 5 seconds nothing that it protects opens; Resume brings it back."
            )
            return redirect("portal:key", member.tenant.pk)
    return _key_page(request, member, reason_form=form, pressed="suspend")


@login_required
@require_POST
def resume(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Undo the organisation's own suspension."""
    member = access.member_for(request.user, tenant)
    form = ReasonForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            services.resume(member.tenant, reason=form.cleaned_data["reason"], actor=portal.actor(member))
            messages.success(request, "The key is asked again. It is in service after two good answers in a row.")
            return redirect("portal:key", member.tenant.pk)
    return _key_page(request, member, reason_form=form, pressed="resume")


@login_required
@require_POST
def drop_caches(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Make every process of ours forget its unwrapped keys now."""
    member = access.member_for(request.user, tenant)
    form = ReasonForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            services.drop_caches(member.tenant, reason=form.cleaned_data["reason"], actor=portal.actor(member))
            messages.success(
                request, "Every unwrapped copy is dropped within 5 seconds. The next use asks your key again."
            )
            return redirect("portal:key", member.tenant.pk)
    return _key_page(request, member, reason_form=form, pressed="drop-caches")


@login_required
@require_POST
def set_latency(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Choose how long an unwrapped copy may live."""
    member = access.member_for(request.user, tenant)
    form = LatencyForm(request.POST)
    if form.is_valid():
        with portal.refusals_on(form):
            services.set_latency(member.tenant, seconds=form.cleaned_data["seconds"], actor=portal.actor(member))
            messages.success(
                request,
                f"When you take the key back in AWS, it stops within {form.cleaned_data['seconds']} seconds.",
            )
            return redirect("portal:key", member.tenant.pk)
    return _key_page(request, member, latency_form=form)


# --- revocation drills ----------------------------------------------------------------------------------------


@login_required
@require_http_methods(["GET", "POST"])
def drill_list(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Say what a drill is and list those there were; POST starts one."""
    member = access.member_for(request.user, tenant)
    form = forms.Form(request.POST if request.method == "POST" else None)
    if request.method == "POST":
        form.is_valid()
        with portal.refusals_on(form):
            drill = drills.start(member.tenant, actor=portal.actor(member))
            return redirect("portal:drill", member.tenant.pk, drill.pk)
    context = {
        "form": form,
        "drills": RevocationDrill.objects.of(member.tenant)[:50],
        "latency": member.tenant.revocation_latency,
        "probe_seconds": settings.DRILL_PROBE_SECONDS,
    }
    return render(request, "portal/drills.html", portal.page(member, **context))


def _drill_page(request: HttpRequest, tenant: UUID, drill: UUID, template: str) -> HttpResponse:
    member = access.member_for(request.user, tenant)
    found = RevocationDrill.objects.of(member.tenant).filter(pk=drill).select_related("registration").first()
    if found is None:
        raise NotFound
    context = {
        "drill": found,
        "region": found.registration.key_arn.split(":")[3],
        "key_arn": found.registration.key_arn,
        "probe_seconds": settings.DRILL_PROBE_SECONDS,
    }
    return render(request, template, portal.page(member, **context))


@login_required
@require_GET
def drill(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """Show one drill: what to do now, what was measured; printed, it is the report that the tenant keeps."""
    return _drill_page(request, tenant, drill, "portal/drill.html")


@login_required
@require_GET
def drill_live(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """Show the drill as a fragment that htmx asks for again while it is on."""
    return _drill_page(request, tenant, drill, "portal/parts/drill.html")


@login_required
@require_POST
def cancel_drill(request: HttpRequest, tenant: UUID, drill: UUID) -> HttpResponse:
    """End a drill before it is done."""
    member = access.member_for(request.user, tenant)
    found = RevocationDrill.objects.of(member.tenant).filter(pk=drill).first()
    if found is None:
        raise NotFound
    drills.cancel(found, actor=portal.actor(member))
    messages.success(request, "The drill is cancelled. If you disabled the key, enable it again.")
    return redirect("portal:drill", member.tenant.pk, found.pk)
