"""Pages of a sign-in by a tenant's directory: which one, over to it, back, and what follows."""

from __future__ import annotations

from urllib.parse import urlsplit
from uuid import UUID

from allauth.account.adapter import get_adapter
from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from byokportal import addresses, storable
from byokportal.errors import NotFound, RateLimited
from byokportal.translation import translate as _
from tenants import access, attempts, fresh, mailed_links, oidc, portal, saml, sealing, services, sign_on_sessions
from tenants.attempts import Limit
from tenants.errors import SignOnRefused
from tenants.forms import SignOnForm
from tenants.models import SignOnAttempt, SignOnConnection, SignOnSession
from tenants.views import saml_flow

NAME = "sign-on"  # of the cookie
BEGUN = Limit("sign-on", 30, 60)  # sign-ins begun from one address
Purpose = SignOnAttempt.Purpose


@never_cache
@require_http_methods(["GET", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Ask for the mail address, whose domain says which directory it is."""
    form = SignOnForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        connection = services.connection_for(form.cleaned_data["email"])
        if connection is not None:
            return _begin(request, connection, Purpose.SIGN_IN)
        _count(request)
        form.add_error("email", _("No organisation signs in here by this address. Sign in with your password."))
    return render(request, "account/sign_on_start.html", {"form": form})


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def needed(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Say that an organisation is entered by its own sign-on, and begin one, or the link to this account."""
    member = access.membership(request.user, tenant)
    connection = services.connection_of(member.tenant)
    if sign_on_sessions.of(request) is not None or connection.mode == SignOnConnection.Mode.DRAFT:
        raise NotFound
    if request.method == "POST":
        if services.identity_of(member) is not None:
            return _begin(request, connection, Purpose.SIGN_IN)
        fresh.require(request)
        return _begin(request, connection, Purpose.LINK, user=member.user)
    context = {"organisation": member.tenant, "is_linked": services.identity_of(member) is not None}
    return render(request, "account/sign_on_needed.html", context)


@login_required
@require_POST
def begin_link(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Begin to link one's own account; an owner tries a new connection by it."""
    member = access.member_for(request, tenant)
    if sign_on_sessions.of(request) is not None:
        raise NotFound
    fresh.require(request)
    return _begin(request, services.connection_of(member.tenant), Purpose.LINK, user=member.user)


@login_required
@require_POST
def unlink(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Let the connection forget one's own account."""
    member = access.member_for(request, tenant)
    if sign_on_sessions.of(request) is not None:
        raise NotFound
    fresh.require(request)
    services.unlink_account(member, actor=portal.actor(request, member))
    messages.success(request, _("Your organisation's sign-on no longer leads to this account."))
    return redirect("portal:sign-on", member.tenant.pk)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def again(request: HttpRequest) -> HttpResponse:
    """Lead a person whose sign-in is too old to the directory that made it, which has to ask anew."""
    session = sign_on_sessions.of(request)
    if session is None:
        raise NotFound
    connection = session.identity.connection
    next_page = _own(request, request.POST.get("next") or request.GET.get("next", ""))
    if request.method == "POST":
        return _begin(request, connection, Purpose.AGAIN, user=session.identity.member.user, next_page=next_page)
    context = {"organisation": session.identity.member.tenant, "next": next_page}
    return render(request, "account/sign_on_again.html", context)


@never_cache
@require_GET
def go(request: HttpRequest) -> HttpResponse:
    """Send the browser over to the directory.

    A page with a link and a Refresh header, since our policy lets no form end at another host (form-action).
    """
    attempt = services.attempt_of(mailed_links.secret_of(request, NAME))
    is_again = attempt.purpose == Purpose.AGAIN
    if attempt.connection.protocol == SignOnConnection.Protocol.SAML:
        directory, request_id = saml_flow.directory_of(attempt.connection), services.request_id_of(attempt)
        address = saml.request_url(directory, request=request_id, is_again=is_again)
    else:
        address = oidc.authorize_url(
            client_of(attempt.connection),
            state=attempt.state,
            nonce=attempt.nonce,
            verifier=attempt.verifier,
            is_again=is_again,
        )
    answer = render(request, "account/sign_on_go.html", {"address": address, "host": urlsplit(address).netloc})
    answer["Refresh"] = f"0;url={address}"
    answer["Referrer-Policy"] = "no-referrer"
    return answer


@never_cache
@require_GET
def callback(request: HttpRequest, tenant: UUID) -> HttpResponse:
    """Take the directory's answer, and lead on to an address that holds nothing of it."""
    secret = mailed_links.secret_of(request, NAME)
    attempt = services.take_answer(secret, tenant_id=tenant, state=request.GET.get("state", ""))
    client = client_of(attempt.connection)
    # RFC 9207: an answer of another issuer, led here by somebody in between
    if request.GET.get("iss", client.issuer) != client.issuer:
        raise SignOnRefused(why=_("The answer came from another sign-on than your organisation's. Begin again."))
    if "error" in request.GET or not request.GET.get("code"):
        raise SignOnRefused(why=_("Your organisation's sign-on did not let you in. Try again, or ask whoever runs it."))
    asserted = oidc.redeem(client, code=request.GET["code"][:4000], nonce=attempt.nonce, verifier=attempt.verifier)
    services.note_answer(attempt, asserted=asserted)
    return redirect("portal:sign-on-finish")


@never_cache
@require_GET
def finish(request: HttpRequest) -> HttpResponse:
    """Do what the answer leads to, in the browser that began it."""
    attempt = services.attempt_of(mailed_links.secret_of(request, NAME))
    if attempt.purpose == Purpose.LINK:
        return redirect("portal:sign-on-link")
    if attempt.purpose == Purpose.AGAIN:
        session = sign_on_sessions.of(request)
        if session is None:
            raise NotFound
        services.sign_on_again(attempt, session=session)
        fresh.note(request=request, user=session.identity.member.user)
        return mailed_links.forget(HttpResponseRedirect(attempt.next_page or "/"), NAME)  # an address, no view's name
    made = services.sign_on(attempt)
    if made is None:
        return redirect("portal:sign-on-link")
    return mailed_links.forget(_sign_in(request, made), NAME)


@never_cache
@require_http_methods(["GET", "POST"])
def link(request: HttpRequest) -> HttpResponse:
    """Show which account would be linked to whom; POST links. Somebody who is not signed in does so first."""
    attempt = services.attempt_of(mailed_links.secret_of(request, NAME))
    if attempt.asserted is None or attempt.purpose == Purpose.AGAIN:
        raise NotFound
    signed_in = None if isinstance(request.user, AnonymousUser) else request.user
    if request.method == "POST":
        if signed_in is None:
            raise NotFound
        fresh.require(request)
        member = services.link_account(attempt, user=signed_in, signed_in_at=fresh.signed_in_at(request))
        messages.success(request, _("%(name)s's sign-on leads to this account now.", name=member.tenant.name))
        page = "portal:sign-on-start" if attempt.connection.mode == SignOnConnection.Mode.REQUIRED else "portal:home"
        return mailed_links.forget(redirect(page), NAME)
    context = {
        "organisation": attempt.connection.tenant,
        "email": attempt.asserted["email"],
        "subject": attempt.asserted["subject"],
        "signed_in": signed_in,
        "sign_in_url": f"{reverse('account_login')}?next={reverse('portal:sign-on-link')}",
    }
    return render(request, "account/sign_on_link.html", context)


def client_of(connection: SignOnConnection) -> oidc.Client:
    """Return how we are known to the directory of a connection."""
    return oidc.Client(
        whose=str(connection.tenant_id),
        issuer=connection.issuer,
        client_id=connection.client_id,
        secret=sealing.unseal(connection.sealed_secret),
        provider=connection.provider,
        role_claim=connection.role_claim,
        factor_values=frozenset(connection.factor_values),
        redirect_uri=redirect_uri(connection.tenant_id),
    )


def redirect_uri(tenant: UUID) -> str:
    """Return the address that a directory has to send people back to."""
    return f"{settings.BASE_URL}{reverse('portal:sign-on-callback', args=[tenant])}"


def _begin(
    request: HttpRequest,
    connection: SignOnConnection,
    purpose: str,
    *,
    user: User | None = None,
    next_page: str = "",
) -> HttpResponse:
    _count(request)
    _, raw = services.begin_sign_on(connection, purpose=purpose, user=user, next_page=next_page)
    return mailed_links.lead(NAME, raw, "portal:sign-on-go")


def _sign_in(request: HttpRequest, made: SignOnSession) -> HttpResponse:
    """Begin a session that the connection made; nothing of one before it stays."""
    user = made.identity.member.user
    request.session.flush()
    request.session[sign_on_sessions.KEY] = str(made.pk)
    request.sign_on_made = made  # type: ignore[attr-defined]  # what `accounts` lets pass
    there = reverse("portal:tracker", args=[made.identity.member.tenant_id])
    if not made.has_second_factor:  # then a second factor of the account is asked for, where it has one
        answer: HttpResponse = perform_login(request, user, email_verification="none", redirect_url=there)
        return answer
    adapter = get_adapter(request)
    adapter.login(request, user)
    done: HttpResponse = adapter.post_login(
        request,
        user,
        email_verification="none",
        signal_kwargs=None,
        email=None,
        signup=False,
        redirect_url=there,
    )
    return done


def _own(request: HttpRequest, address: str) -> str:
    is_own = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if is_own and storable.is_text(address) else "/"


def _count(request: HttpRequest) -> None:
    if attempts.count(BEGUN, addresses.group(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))) > BEGUN.count:
        raise RateLimited(retry_after=BEGUN.seconds)
