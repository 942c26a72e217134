"""What every page of the portal has in common: whose it is, what this person may do, where a refusal is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django import forms
from django.conf import settings
from django.db import IntegrityError
from django.http import HttpRequest

from byokportal import problems
from byokportal.errors import DomainError, Kind
from tenants import fresh, roles, services
from tenants.audit import Actor
from tenants.errors import SecondPersonNeeded
from tenants.models import Member

# These are pages or sign-ins of their own (byokportal.problems), not words beside a field.
PAGES = {Kind.NOT_FOUND, Kind.FORBIDDEN, Kind.UNAUTHENTICATED, Kind.METHOD}


def actor(request: HttpRequest, member: Member) -> Actor:
    """Return the member as the actor of an operation in the portal, with the time of the last proof of who it is."""
    return Actor.of_member(member, via="portal", signed_in_at=fresh.signed_in_at(request))


def page(member: Member, **context: Any) -> dict[str, Any]:
    """Return the context of a page: its own and the common one."""
    reader = Actor.of_member(member, via="portal")
    may = {name.replace(".", "_"): roles.allowed(reader, name, member.tenant) for name in roles.OPERATIONS}
    return {"tenant": member.tenant, "member": member, "may": may, "support_url": settings.SUPPORT_URL, **context}


@contextmanager
def refusals_on(form: forms.Form) -> Iterator[None]:
    """Show an anticipated failure on its field, else above the form; the caller then renders the page again."""
    try:
        yield
    except (DomainError, IntegrityError) as raised:
        error = raised if isinstance(raised, DomainError) else problems.of_database(raised)
        if error is None or error.kind in PAGES:
            raise
        if isinstance(error, SecondPersonNeeded):
            services.ask_second_person(error)
        for field, sentences in error.errors.items():
            for sentence in sentences:
                form.add_error(field if field in form.fields else None, sentence)
        if not error.errors:
            form.add_error(None, error.in_full)
