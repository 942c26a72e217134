"""How people get an account: by invitation only (allauth's adapter)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import translation
from django.utils.translation import gettext_lazy

from byokportal import addresses
from byokportal.translation import translate as _
from tenants import fresh, services, sign_in, sign_on_sessions

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WAYS = {
    "reauthenticate": gettext_lazy("Use your password instead"),
    "mfa_reauthenticate": gettext_lazy("Use a code instead"),
    "mfa_reauthenticate:webauthn": gettext_lazy("Use a passkey instead"),
}


def prove(*, user: AbstractBaseUser, **_: Any) -> None:
    """Write down that a person who has chosen a password by a mailed link reads the address that it went to;
    allauth calls it after that.

    Only for an account without any proved address: it has none but that of its row, so the link went there.
    """
    mine = EmailAddress.objects.filter(user_id=user.pk)
    email = str(getattr(user, "email", "")).lower()
    if (
        not email
        or mine.filter(verified=True).exists()
        or EmailAddress.objects.filter(email=email, verified=True).exists()
    ):
        return
    mine.delete()
    EmailAddress.objects.create(user_id=user.pk, email=email, verified=True, primary=True)


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Nobody signs up: `tenants.services.invite` makes the account, its mail lets the person choose a password."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "account_inactive": gettext_lazy("This account is switched off. Ask an owner of your organisation."),
        "email_password_mismatch": gettext_lazy(
            "Mail address and password do not fit together. Try again, or choose a new password."
        ),
        "enter_current_password": gettext_lazy("This is not your current password. Try again."),
        "incorrect_password": gettext_lazy("This is not your password. Try again."),
        "too_many_login_attempts": gettext_lazy("Too many attempts failed. Wait five minutes, then try again."),
        "rate_limited": gettext_lazy("Too many mails were asked for. Use the link in the last one, or wait an hour."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_reauthentication_required(self, *, app: str, **_: Any) -> bool:
        """Let `tenants.fresh` decide for allauth's own pages too: allauth compares the clocks of two web machines.

        Raises:
            FreshSignInNeeded: allauth would keep what was posted, in the session, to repeat it;
                we lead back to the page.
        """
        fresh.require(self.request)
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that `byokportal.addresses` found; the mails that tell of a sign-in name it."""
        return str(request.META.get("REMOTE_ADDR", addresses.UNKNOWN))

    def pre_login(self, request: HttpRequest, user: AbstractBaseUser, **options: Any) -> HttpResponse | None:
        """Stop a sign-in by password, passkey or mailed link of an account that its directory alone lets in."""
        if getattr(request, "sign_on_made", None) is None:
            request.session.pop(sign_on_sessions.KEY, None)
            if services.only_by_sign_on(cast("User", user)):
                messages.info(
                    request, _("Your organisation lets you in by its own sign-on. Give your mail address here.")
                )
                return redirect("portal:sign-on-start")
        answer: HttpResponse | None = super().pre_login(request, user, **options)
        return answer

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count an attempt with a password before it is looked at."""
        account = str(credentials.get("email") or credentials.get("username") or "")
        self._attempt = sign_in.attempt(request, account)
        if self._attempt is None:
            raise self.validation_error("too_many_login_attempts")

    def _rollback_login_failed_rl_usage(self) -> None:
        """What allauth calls once the password was right."""
        if self._attempt is not None:
            self._attempt.succeeded()

    def get_reauthentication_methods(self, user: AbstractBaseUser) -> list[dict[str, Any]]:
        return [way | {"description": WAYS[way["id"]]} for way in super().get_reauthentication_methods(user)]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        addresses_of_ours = {"base_url": settings.BASE_URL, "support_url": settings.SUPPORT_URL}
        with translation.override(services.language_of(email)):
            super().send_mail(template_prefix, email, addresses_of_ours | context)

    def post_login(self, request: HttpRequest, user: AbstractBaseUser, **facts: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **facts)
        sign_in.remember_device(request, response, user)
        return response
