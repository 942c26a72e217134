"""Our people on one page: who is in which group, what the groups may do, sign-ins, looks; and the file of a review."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache

from byokportal import clock, exports
from support import services, staff
from support.models import StaffReview
from tenants import roles
from tenants.audit import Actor

REVIEWS = 8  # the newest, on the page
COLUMNS = (
    "mail address", "groups", "may", "may sign in", "last sign-in (UTC)", "second factor", "superuser",
    "organisations looked at in a quarter", "newest look (UTC)", "permissions of their own",
)  # fmt: skip


def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """Show the table of permissions, and everybody of ours."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    found, reviews = staff.people(), list(StaffReview.objects.select_related("reviewed_by")[:REVIEWS])
    asked = request.GET.get("looks", "")
    one = next((person for person in found if str(person.user.pk) == asked), None)
    shown = {
        "title": "Our people",
        "people": found,
        "second_factor_required": settings.MFA_REQUIRED,
        "groups": roles.GROUPS,
        "permissions": [
            (one.label, [(group, group in one.groups) for group in roles.GROUPS]) for one in roles.STAFF_PERMISSIONS
        ],
        "sees": len(roles.VIEWED),
        "reviews": reviews,
        "due": (reviews[0].at if reviews else _first(found)) + staff.QUARTER if found else None,
        "now": clock.now(),
        "looked": one,
        "looks": staff.looks_of(one.user, since=staff.a_quarter_ago()) if one else None,
        "with_own": [person for person in found if person.own],
        "may_review": roles.staff_may(request.user, "support.review_staff"),
        "may_manage": roles.staff_may(request.user, "tenants.manage_staff"),
        "review_url": reverse("admin:auth_user_list_operation", args=["record-review"]),
        "create_url": reverse("admin:auth_user_list_operation", args=["create-staff"]),
    }
    return TemplateResponse(request, "admin/our_people.html", {**context, **shown})


def _first(people: list[staff.Person]) -> Any:
    return min(person.user.date_joined for person in people)


@never_cache
def export(request: HttpRequest, extension: str) -> HttpResponse:
    """Return what a review looks at as one file; our log says who took it."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    if extension not in {"csv", "json"}:
        raise Http404
    found, since = staff.people(), staff.a_quarter_ago()
    rows = [(person, staff.looks_of(person.user, since=since)) for person in found]
    services.record_staff_export(count=len(found), actor=Actor.staff(request.user))
    if extension == "json":
        text, kind = _json(rows), "application/json"
    else:
        text, kind = _csv(rows), "text/csv; charset=utf-8"
    answer = HttpResponse(text, content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="our-people-{clock.now():%Y-%m-%d}.{extension}"'
    return answer


Rows = list[tuple[staff.Person, staff.Looks]]


def _csv(rows: Rows) -> str:
    notation = exports.Csv()
    lines = [notation.head(COLUMNS)]
    for person, looks in rows:
        user = person.user
        cells = (
            user.email, ", ".join(person.groups), ", ".join(person.permissions), "yes" if user.is_active else "no",
            f"{user.last_login:%Y-%m-%d %H:%M}" if user.last_login else "never", person.factors or "none",
            "yes" if user.is_superuser else "no", looks.total,
            f"{person.looked_at:%Y-%m-%d %H:%M}" if person.looked_at else "", ", ".join(person.own),
        )  # fmt: skip
        lines.append(notation.row(dict(zip(COLUMNS, cells, strict=True))))
    lines.append(notation.end(exports.Ending(len(rows) < staff.AT_MOST, len(rows)), COLUMNS))
    return "".join(lines)


def _json(rows: Rows) -> str:
    people = [
        {
            "email": person.user.email,
            "groups": person.groups,
            "permissions": person.permissions,
            "permissions_of_their_own": person.own,
            "is_active": person.user.is_active,
            "is_superuser": person.user.is_superuser,
            "last_sign_in": person.user.last_login.isoformat() if person.user.last_login else None,
            "second_factor": person.factors or None,
            "looks": [
                {"organisation": look.tenant, "count": look.count, "last_at": look.last_at.isoformat()}
                for look in looks.newest
            ],
            "looked_at": looks.total,
            "looks_complete": not looks.more,
        }
        for person, looks in rows
    ]
    table = {one.label: sorted(one.groups) for one in roles.STAFF_PERMISSIONS}
    complete = len(rows) < staff.AT_MOST and not any(looks.more for _, looks in rows)
    return json.dumps(
        {"at": clock.now().isoformat(), "permissions": table, "people": people, "complete": complete}, indent=1
    )
