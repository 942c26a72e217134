"""Portal page with what a customer's own controls are made of, and its ready texts as files."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import services
from keys.aws.sessions import PURPOSES
from keys.policies.controls import FILES
from tenants import access, portal

# Control → its heading, and where it goes.
WORDS = {
    "scp": (
        lazy("Service control policy"),
        lazy("For the organization of the role's account: the role does nothing but use this key."),
    ),
    "rcp": (
        lazy("Resource control policy"),
        lazy(
            "For the role's account: nobody but our service role becomes it, and never without your External ID. "
            "Our test tries without it on purpose; that stays refused."
        ),
    ),
    "key-policy-conditions": (
        lazy("Key policy statements with conditions"),
        lazy(
            "In the place of the statement of step 3: every call but DescribeKey, which carries no encryption context, "
            "has to carry your organisation's."
        ),
    ),
    "eventbridge-key": (
        lazy("EventBridge: the key was changed"),
        lazy("An event pattern for a rule in the key's Region."),
    ),
    "eventbridge-role": (
        lazy("EventBridge: the role was changed"),
        lazy("An event pattern for a rule in us-east-1, where IAM's events are."),
    ),
    "cloudwatch-alarms": (
        lazy("CloudWatch alarms"),
        lazy(
            "A script that makes two alarms on the log group of your CloudTrail: somebody else used the key; "
            "AWS refused us the key. Where you share the key with services of your own, leave the first one out."
        ),
    ),
    "cloudtrail-lake": (
        lazy("CloudTrail Lake query"),
        lazy("Every use of the key through the role. Put the id of your event data store behind FROM."),
    ),
    "logs-insights": (
        lazy("CloudWatch Logs Insights query"),
        lazy("The same for the log group of your trail: CloudTrail Lake takes no new customers since May 2026."),
    ),
}


@login_required
@require_GET
def facts(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Show the facts and the ready texts."""
    member = access.member_for(request, tenant)
    found = services.facts_of(member.tenant)
    sessions = [(name, _(PURPOSES[purpose])) for purpose, name in found.session_names.items()]
    ready = [(each, *map(_, WORDS[each.name]), FILES[each.name]) for each in found.controls]
    return render(request, "portal/facts.html", portal.page(member, facts=found, sessions=sessions, controls=ready))


@login_required
@require_GET
def control(request: HttpRequest, tenant: UUID, name: str) -> HttpResponse:
    """Give one ready text as a file."""
    member = access.member_for(request, tenant)
    answer = HttpResponse(services.control(member.tenant, name), content_type="text/plain; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{FILES[name]}"'
    answer["Cache-Control"] = "no-store"
    return answer
