"""What allauth asks about second factors:
their secrets are stored encrypted, and nobody takes away their own last one."""

from __future__ import annotations

import base64

import qrcode
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import ReauthenticateWebAuthnView, RemoveWebAuthnView
from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext_lazy
from django.views.generic import FormView
from qrcode.image.svg import SvgPathFillImage

SEALED = "sealed:"  # what was stored before has no such mark and is read as it is
REAL = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)  # recovery codes stand in for one of these
LAST = gettext_lazy(
    "This is your only second factor, and one is required here. Add another first; then you can remove this one."
)


class Adapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """How allauth stores and removes second factors here."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "cannot_delete_authenticator": LAST,
        "cannot_generate_recovery_codes": gettext_lazy(
            "Set up an authenticator app or a passkey first; then make recovery codes."
        ),
        "incorrect_code": gettext_lazy(
            "This code is wrong, or it has been used. Type the one that your app shows now, or a recovery code."
        ),
    }

    def generate_authenticator_name(self, user: AbstractBaseUser, type: Authenticator.Type) -> str:
        """Return a name for the next passkey; the person may change it."""
        return f"Passkey {Authenticator.objects.filter(user_id=user.pk, type=type).count() + 1}"

    def encrypt(self, text: str) -> str:
        """Return the text encrypted under a key that is derived from SECRET_KEY."""
        return SEALED + _cipher().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return what `encrypt` was given; the keys of SECRET_KEY_FALLBACKS open too."""
        if not encrypted_text.startswith(SEALED):
            return encrypted_text
        return _cipher().decrypt(encrypted_text.removeprefix(SEALED).encode()).decode()

    def build_totp_svg(self, url: str) -> str:
        """Return the QR code as an element that stands in the page itself:
        our policy lets no picture in by a data: address.

        Its paper is white in dark mode too: a camera reads dark modules on a light ground.
        """
        picture: str = qrcode.make(url, image_factory=SvgPathFillImage).to_string(encoding="unicode")
        return picture

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return may_remove(authenticator)


class RemovePasskey(RemoveWebAuthnView):  # type: ignore[misc]
    """allauth's page for removing a passkey, which does not ask `can_delete_authenticator`."""

    def form_valid(self, form: object) -> HttpResponse:
        if not may_remove(self.get_object()):
            messages.error(self.request, LAST)
            return redirect("mfa_list_webauthn")
        answer: HttpResponse = super().form_valid(form)
        return answer


class PasskeyAgain(ReauthenticateWebAuthnView):  # type: ignore[misc]
    """allauth's page for a passkey as a fresh sign-in, which after a failure would lead to the start page."""

    def form_invalid(self, form: forms.Form) -> HttpResponse:
        answer: HttpResponse = FormView.form_invalid(self, form)
        return answer


def may_remove(authenticator: Authenticator) -> bool:
    """Tell whether the person may remove it alone: not the last one where one is required.

    Without this a stolen session and a password would do away with the second factor;
    resetting it is for an owner, or two leads of ours.
    """
    others = Authenticator.objects.filter(user=authenticator.user_id, type__in=REAL).exclude(pk=authenticator.pk)
    return not settings.MFA_REQUIRED or others.exists()


def _cipher() -> MultiFernet:
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _fernet(secret: str) -> Fernet:
    key = HKDF(SHA256(), 32, salt=None, info=b"byokportal second factors").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
