"""What stands around every page of the back office: its navigation, and the search box."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from tenants import roles

# Name of the page, its icon, its address, the model that one has to be allowed to look at.
PAGES = (
    ("Desk", "desk", "admin:index", ""),
    ("Fleet", "table", "admin:fleet", "tenants.tenant"),
    ("Tickets", "talk", "admin:tickets", "support.ticket"),
    ("Incidents", "warn", "admin:keys_incident_changelist", "keys.incident"),
    ("Service roles", "server", "admin:tenants_servicerole_changelist", "tenants.servicerole"),
    ("Explain", "test", "admin:explain_aws_error", "support.ticket"),
    ("Our people", "people", "admin:our_people", "auth.user"),
)


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    icon: str
    url: str
    is_here: bool


def pages(request: HttpRequest) -> list[Page]:
    """Return the pages that this person may see; the one whose address is the longest beginning of ours is here."""
    shown = [
        (name, icon, reverse(url))
        for name, icon, url, model in PAGES
        if not model or roles.staff_sees(request.user, model)
    ]
    beginnings = [
        url
        for _, _, url in shown
        if request.path == url or (url != reverse("admin:index") and request.path.startswith(url))
    ]
    here = max(beginnings, key=len, default="")
    if not here and request.path.startswith(reverse("admin:tenants_tenant_changelist")):
        here = reverse("admin:fleet")
    if not here and request.path.startswith(reverse("admin:auth_user_changelist")):
        here = reverse("admin:our_people")
    if not here and request.path.startswith(reverse("admin:support_bulkoperation_changelist")):
        here = reverse("admin:fleet")
    if not here and request.path.startswith(reverse("admin:support_ticket_changelist")):
        here = reverse("admin:tickets")
    return [Page(name, icon, url, url == here) for name, icon, url in shown]
