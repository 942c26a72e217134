"""Portal pages of the encryption test: live, run by run, side by side."""

from __future__ import annotations

from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods
from django_htmx.http import trigger_client_event

from byokportal.errors import NotFound
from keys import services
from keys.forms import (
    TestForm,
)
from keys.models import EncryptionTest
from keys.proof.encryption_test.report import chain
from keys.proof.encryption_test.report.presentation import TestReport
from keys.views import steps
from tenants import access, portal
from tenants.models import Member

RUNS_A_PAGE = 6  # columns of the comparison


@login_required
@require_http_methods(["GET", "POST"])
def tests(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the runs so far side by side; POST asks for a fresh proof."""
    member = access.member_for(request, tenant)
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
                member.tenant, keep_until=form.cleaned_data["keep_until"], actor=portal.actor(request, member)
            )
            return redirect("portal:test", member.tenant.pk, test.pk)
    return render(
        request,
        "portal/step.html",
        {**steps.page_of(member, 5, forms.Form(), steps.progress_of(member.tenant)), "test_form": form},
    )


@login_required
@require_GET
def test(request: HttpRequest, tenant: UUID, test: UUID) -> HttpResponse:
    """Show one test; while it goes on, htmx asks again and gets what is new:
    nothing, or the part of the page that lives."""
    member = access.member_for(request, tenant)
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


def _say_when_it_matters(page: HttpResponse, reading: TestReport | None) -> HttpResponse:
    """Let step 5, which shows this part under its own status, ask for that status again: it changes with these."""
    changes = reading is not None and (reading.is_over or reading.likely or reading.tone == "ours")
    return trigger_client_event(page, "step-changed") if changes else page


@login_required
@require_GET
def test_progress(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show what is going on from sharing to the test, as a fragment that htmx asks for
    until there is a test to follow."""
    member = access.member_for(request, tenant)
    progress = steps.progress_of(member.tenant)
    context = {"progress": progress, "reading": progress.reading, "not_begun": chain.of(()), "test_form": TestForm()}
    page = render(request, "portal/parts/test_progress.html", portal.page(member, **context))
    return page if progress.is_configuring else _say_when_it_matters(page, progress.reading)
