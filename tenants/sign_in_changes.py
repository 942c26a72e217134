"""A person changed how they sign in: a row in the log of each organisation that they are in,
and one in ours that their mail follows from.

allauth has changed it already when it says so. The mail goes out like every other (`support.notices`), so a mail server
that does not answer fails nobody's request.
"""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import AbstractBaseUser

from byokportal.translation import lazy
from tenants import audit, transactions
from tenants.audit import Actor
from tenants.services.people import members_logs

CAME = {
    Authenticator.Type.TOTP: lazy("an authenticator app came to the second factors"),
    Authenticator.Type.WEBAUTHN: lazy("a passkey came to the second factors"),
    Authenticator.Type.RECOVERY_CODES: lazy("recovery codes came to the second factors"),
}
WENT = {
    Authenticator.Type.TOTP: lazy("an authenticator app went from the second factors"),
    Authenticator.Type.WEBAUTHN: lazy("a passkey went from the second factors"),
    Authenticator.Type.RECOVERY_CODES: lazy("recovery codes went from the second factors"),
}


def password_chosen(*, user: AbstractBaseUser, **_: Any) -> None:
    """A new password, by the page or by the mailed link."""
    _note(user, lazy("a new password was chosen"))


def factor_added(*, user: AbstractBaseUser, authenticator: Authenticator, **_: Any) -> None:
    _note(user, CAME[Authenticator.Type(authenticator.type)])


def factor_removed(*, user: AbstractBaseUser, authenticator: Authenticator, **_: Any) -> None:
    _note(user, WENT[Authenticator.Type(authenticator.type)])


def codes_made_anew(*, user: AbstractBaseUser, **_: Any) -> None:
    _note(user, lazy("new recovery codes were made, and the old ones ended"))


def _note(user: AbstractBaseUser, what: str) -> None:
    actor, email = Actor.of_account(user), str(getattr(user, "email", ""))

    def record() -> None:
        for tenant in members_logs(user):
            if tenant is not None:
                audit.record(
                    "tenants.member.sign_in_changed", tenant=tenant, actor=actor, target=user, email=email, what=what
                )
        audit.record("tenants.account.sign_in_changed", tenant=None, actor=actor, target=user, email=email, what=what)

    transactions.run(record)
