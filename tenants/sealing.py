"""Secrets that we have to use later, such as a client secret at a tenant's directory: stored encrypted."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def seal(text: str) -> str:
    """Return the text encrypted under a key that is derived from SECRET_KEY."""
    return _cipher().encrypt(text.encode()).decode()


def unseal(sealed: str) -> str:
    """Return what `seal` was given; the keys of SECRET_KEY_FALLBACKS open too."""
    return _cipher().decrypt(sealed.encode()).decode()


def _cipher() -> MultiFernet:
    return MultiFernet([_fernet(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _fernet(secret: str) -> Fernet:
    key = HKDF(SHA256(), 32, salt=None, info=b"byokportal secrets at tenants' directories").derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(key))
