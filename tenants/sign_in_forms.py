"""allauth's forms as we use them: attempts at what can be guessed are counted by `tenants.sign_in` instead
of allauth's own limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from allauth.account import forms as account
from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.mfa.base import forms as mfa
from allauth.mfa.models import Authenticator
from allauth.mfa.totp import forms as totp
from allauth.mfa.webauthn import forms as webauthn
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy
from redis.exceptions import RedisError

from tenants import attempts, services, sign_in
from tenants.attempts import Limit

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


USED = Limit("used-codes", 1, 90)  # a code is right for 30 seconds


NOT_THIS_PASSKEY = gettext_lazy(
    "This passkey does not fit your account, or you waited too long. Try again, or use another way."
)


class Labelled:
    """A form whose labels are ours; a placeholder would only say the label again, and goes away when one types."""

    labels: dict[str, StrOrPromise]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in self.labels.items():
            field = self.fields[name]  # type: ignore[attr-defined]
            field.label = label
            field.widget.attrs.pop("placeholder", None)


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
    """Return what a check of a code returns, also while the shared cache does not answer,
    in which allauth marks a right code as used.

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


def code_field(label: StrOrPromise) -> forms.CharField:
    """Return a field for six digits: the phone shows digits to type, and offers the code that it knows."""
    widget = forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"})
    return forms.CharField(label=label, widget=widget)


class SetUpAppForm(totp.ActivateTOTPForm):  # type: ignore[misc]  # allauth has no types
    """The first code of an authenticator app; the secret that it comes from is kept in the session until then."""

    code = code_field(gettext_lazy("Code"))

    def secret_in_fours(self) -> str:
        """Return the secret for people who type it."""
        return " ".join(self.secret[i : i + 4] for i in range(0, len(self.secret), 4))


class CodeForm(mfa.AuthenticateForm):  # type: ignore[misc]
    """The second factor of a sign-in."""

    code = code_field(gettext_lazy("Code of your authenticator app, or a recovery code"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_passkey = Authenticator.objects.filter(user=self.user, type=Authenticator.Type.WEBAUTHN).exists()

    def clean_code(self) -> str:
        return counted(self.user.email, lambda: once(self, super(CodeForm, self).clean_code), also=sign_in.CODES)


class CodeAgainForm(mfa.ReauthenticateForm):  # type: ignore[misc]
    """The second factor, given once more."""

    code = code_field(gettext_lazy("Code of your authenticator app, or a recovery code"))

    def clean_code(self) -> str:
        return counted(self.user.email, lambda: once(self, super(CodeAgainForm, self).clean_code), also=sign_in.CODES)


class LoginForm(Labelled, account.LoginForm):  # type: ignore[misc]
    labels: dict[str, StrOrPromise] = {"login": gettext_lazy("Mail address"), "password": gettext_lazy("Password")}


class PasswordAgainForm(Labelled, account.ReauthenticateForm):  # type: ignore[misc]
    labels: dict[str, StrOrPromise] = {"password": gettext_lazy("Password")}


class ChangePasswordForm(Labelled, account.ChangePasswordForm):  # type: ignore[misc]
    """A new password for the current one, which somebody at an open screen might guess."""

    labels: dict[str, StrOrPromise] = {
        "oldpassword": gettext_lazy("Current password"),
        "password1": gettext_lazy("New password"),
        "password2": gettext_lazy("New password, once more"),
    }

    def clean_oldpassword(self) -> str:
        return counted(self.user.email, super().clean_oldpassword)


class NewPasswordForm(Labelled, account.ResetPasswordKeyForm):  # type: ignore[misc]
    labels: dict[str, StrOrPromise] = {
        "password1": gettext_lazy("New password"),
        "password2": gettext_lazy("New password, once more"),
    }


class ResetPasswordForm(Labelled, account.ResetPasswordForm):  # type: ignore[misc]
    """A mail with a link for a new password. Each one counts: there is no failure to tell from a success."""

    labels: dict[str, StrOrPromise] = {"email": gettext_lazy("Mail address")}

    def clean_email(self) -> str:
        email: str = super().clean_email()
        if sign_in.attempt(context.request, email, what="reset", also=sign_in.RESETS) is None:
            raise get_adapter().validation_error("rate_limited")
        # allauth mails to these; the page says the same whether there is one or not.
        self.users: list[Any] = [user for user in self.users if not services.only_by_sign_on(user)]
        return email


class PasskeyForm:
    """A form that takes what a browser answers for a passkey.
    What it cannot read is an error of the form, not of ours."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()  # type: ignore[misc]
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError):
            raise ValidationError(NOT_THIS_PASSKEY) from None


class SignInByPasskeyForm(PasskeyForm, webauthn.LoginWebAuthnForm):  # type: ignore[misc]
    pass


class PasskeyAsSecondFactorForm(PasskeyForm, webauthn.AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class PasskeyAgainForm(PasskeyForm, webauthn.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class AddPasskeyForm(webauthn.AddWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, required=False)
    passwordless = forms.BooleanField(
        label=gettext_lazy("Sign in with it alone, without the password"),
        help_text=gettext_lazy(
            "Untick this for a key that has no PIN, fingerprint or face: it then comes after your password."
        ),
        required=False,
        initial=True,
    )

    def clean(self) -> dict[str, Any]:
        try:
            cleaned: dict[str, Any] = super().clean()
        except (ValidationError, ValueError, TypeError, KeyError, AttributeError):
            raise ValidationError(
                gettext_lazy("Your browser's answer does not fit, or you waited too long. Try again.")
            ) from None
        return cleaned


class RenamePasskeyForm(webauthn.EditWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
