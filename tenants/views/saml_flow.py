"""Addresses that a directory of SAML 2.0 knows: our metadata, and where it has browsers post its answer."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from byokportal import addresses
from byokportal.errors import RateLimited
from tenants import attempts, mailed_links, saml, saml_metadata, services
from tenants.attempts import Limit
from tenants.models import SignOnConnection

BROUGHT = "sign-on-answer"  # the cookie
BROUGHT_LASTS = 60  # seconds; the browser goes on at once
POSTED = Limit("saml-answer", 60, 60)  # answers from one address
METADATA = "application/samlmetadata+xml"


@require_GET
def metadata(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Give our metadata for a tenant; it says nothing about whether there is one."""
    text = saml_metadata.ours(entity_id=entity_id(tenant), acs=acs_url(tenant))
    return HttpResponse(text, content_type=METADATA, headers={"Content-Disposition": "inline; filename=byok.xml"})


@never_cache
@csrf_exempt
@require_POST
def acs(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Take a directory's answer, which another site has the browser post: without our cookies, and so for nothing yet.

    No form of ours leads here, and nothing is done for whoever is signed in: a token against forged requests would
    protect nothing. The browser gets a secret and comes back by GET, which brings its cookies.
    """
    sender = addresses.group(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))
    if attempts.count(POSTED, sender) > POSTED.count:
        raise RateLimited(retry_after=POSTED.seconds)
    answer = saml.read(request.POST.get("SAMLResponse", ""))
    attempt = services.attempt_for(answer.request, tenant_id=tenant)
    asserted, assertion_id = saml.verified(
        answer, directory_of(attempt.connection), request=services.request_id_of(attempt)
    )
    brought = services.deliver_answer(attempt, asserted=asserted, assertion_id=assertion_id)
    return mailed_links.lead(BROUGHT, brought, "portal:saml-answer", lasts=BROUGHT_LASTS)


@never_cache
@require_GET
def answer(request: HttpRequest) -> HttpResponse:
    """Let the answer count in the browser that began the sign-in and brought the answer, and in no other."""
    begun, brought = (mailed_links.secret_of(request, name) for name in ("sign-on", BROUGHT))
    services.take_delivery(begun, brought=brought)
    return mailed_links.forget(redirect("portal:sign-on-finish"), BROUGHT)


def directory_of(connection: SignOnConnection) -> saml.Directory:
    """Return the directory of a connection, with how it knows us."""
    return saml.Directory(
        issuer=connection.issuer,
        provider=connection.provider,
        role_claim=connection.role_claim,
        factor_values=frozenset(connection.factor_values),
        entity_id=entity_id(connection.tenant_id),
        acs=acs_url(connection.tenant_id),
    )


def entity_id(tenant: UUID) -> str:
    """Return our name at a tenant's directory, which is also the address of our metadata."""
    return f"{settings.BASE_URL}{reverse('portal:saml-metadata', args=[tenant])}"


def acs_url(tenant: UUID) -> str:
    """Return where a tenant's directory has browsers post its answer (assertion consumer service)."""
    return f"{settings.BASE_URL}{reverse('portal:saml-acs', args=[tenant])}"
