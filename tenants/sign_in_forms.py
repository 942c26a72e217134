"""allauth's forms as we use them: attempts at what can be guessed are counted by `tenants.sign_in` instead of allauth's own limits."""

from __future__ import annotations

from collections.abc import Callable

from allauth.account import forms as account
from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.base import forms as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from django import forms
from redis.exceptions import RedisError

from tenants import attempts, sign_in
from tenants.attempts import Limit

USED = Limit("used-codes", 1, 90)  # a code is right for 30 seconds


def counted(email: str, check: Callable[[], str], *, also: Limit | None = None) -> str:
    """Return what a check returns; it raises where it fails, and then the attempt counts.

    Raises:
        ValidationError: the check failed, or there were too many attempts.
    """
    attempt = sign_in.attempt(context.request, email, also=also)
    if attempt is None:
        raise get_adapter().validation_error("too_many_login_attempts")
    found = check()
    attempt.succeeded()
    return found


def once(form: mfa.BaseAuthenticateForm, check: Callable[[], str]) -> str:
    """Return what a check of a code returns, also while the shared cache does not answer, in which allauth marks a right code as used.

    Raises:
        ValidationError: the code is wrong, or this process has seen it before.
    """
    try:
        return check()
    except RedisError:
        code: str = form.cleaned_data["code"]
        if attempts.count(USED, f"{form.user.pk} {code}") > 1:
            raise get_adapter().validation_error("incorrect_code") from None
        form.authenticator = Authenticator.objects.select_related("user").get(
            user=form.user, type=Authenticator.Type.TOTP
        )
        return code


def code_field(label: str) -> forms.CharField:
    """Return a field for six digits: the phone shows digits to type, and offers the code that it knows."""
    widget = forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"})
    return forms.CharField(label=label, widget=widget)


class SetUpAppForm(totp.ActivateTOTPForm):  # type: ignore[misc]  # allauth has no types
    """The first code of an authenticator app; the secret that it comes from is kept in the session until then."""

    code = code_field("Code")

    def secret_in_fours(self) -> str:
        """Return the secret for people who type it."""
        return " ".join(self.secret[i : i + 4] for i in range(0, len(self.secret), 4))


class CodeForm(mfa.AuthenticateForm):  # type: ignore[misc]  # allauth has no types
    """The second factor of a sign-in."""

    def clean_code(self) -> str:
        return counted(self.user.email, lambda: once(self, super(CodeForm, self).clean_code), also=sign_in.CODES)


class CodeAgainForm(mfa.ReauthenticateForm):  # type: ignore[misc]
    """The second factor, given once more."""

    def clean_code(self) -> str:
        return counted(self.user.email, lambda: once(self, super(CodeAgainForm, self).clean_code), also=sign_in.CODES)


class ChangePasswordForm(account.ChangePasswordForm):  # type: ignore[misc]
    """A new password for the current one, which somebody at an open screen might guess."""

    def clean_oldpassword(self) -> str:
        return counted(self.user.email, super().clean_oldpassword)


class ResetPasswordForm(account.ResetPasswordForm):  # type: ignore[misc]
    """A mail with a link for a new password. Each one counts: there is no failure to tell from a success."""

    def clean_email(self) -> str:
        email: str = super().clean_email()
        if sign_in.attempt(context.request, email, what="reset", also=sign_in.RESETS) is None:
            raise get_adapter().validation_error("rate_limited")
        return email
