"""The main pages of the portal, in their order, and which of them a page belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django import template
from django.utils.translation import gettext, gettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


register = template.Library()


@dataclass(frozen=True, slots=True)
class Section:
    """One entry of the navigation.

    Args:
        url: the name of its address, without `portal:`.
        icon: a symbol of `static/portal/icons.svg`.
        pages: names of the other addresses that belong to it.
        is_here: whether the page that is shown is one of them.
    """

    label: StrOrPromise
    url: str
    icon: str
    pages: tuple[str, ...] = ()
    is_here: bool = False

    @property
    def name(self) -> str:
        return f"portal:{self.url}"


APPROVALS = "approvals"
SECTIONS = (
    Section(gettext_lazy("Home"), "overview", "house"),
    Section(
        gettext_lazy("Setup"),
        "tracker",
        "list-checks",
        ("step", "links", "tenant-guide", "change-request", "facts", "check-policy", "check-output", "activation"),
    ),
    Section(
        gettext_lazy("Key"), "key", "key-round", ("branch-keys", "end-horizon", "drills", "drill", "confirm-restore")
    ),
    Section(gettext_lazy("Tests"), "tests", "flask-conical", ("test",)),
    Section(
        gettext_lazy("Log"),
        "log",
        "scroll-text",
        ("key-uses", "log-seal", "log-streams", "log-stream", "remove-log-stream", "evidence", "reconciliation"),
    ),
    Section(gettext_lazy("Tickets"), "tickets", "life-buoy", ("ticket",)),
    Section(
        gettext_lazy("People"),
        "members",
        "users-round",
        (
            "remove-member",
            "forget-member",
            "reset-second-factor",
            "sign-on",
            "sign-on-needed",
            "remove-domain",
            "sign-on-connection",
            "remove-sign-on",
            "sign-on-saml",
            "directory",
            "remove-directory",
            "mails",
        ),
    ),
    Section(gettext_lazy("Approvals"), APPROVALS, "user-round-check", ("refuse",)),
    Section(gettext_lazy("Automation"), "tokens", "code-xml", ("webhooks", "webhook", "remove-webhook")),
)


@register.simple_tag(takes_context=True)
def sections(context: Mapping[str, Any]) -> list[Section]:
    """Return the sections of the tenant in the context; approvals only where a second person is asked."""
    request, tenant = context.get("request"), context["tenant"]
    match = request.resolver_match if request else None
    here = match.url_name if match else ""
    return [
        replace(one, is_here=here == one.url or here in one.pages)
        for one in SECTIONS
        if one.url != APPROVALS or tenant.second_person_since
    ]


@register.filter
def label_here(found: list[Section] | str) -> str:
    """Return the name of the section that a page lies in: what a phone's menu is called.

    A form that was refused is shown at the address of its button, which is no page of a section.
    """
    return next((str(one.label) for one in found if isinstance(one, Section) and one.is_here), gettext("Menu"))
