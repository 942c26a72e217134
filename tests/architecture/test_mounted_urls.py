"""Every address that is mounted, with the reason why it is there; one that is not in the list fails."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from url_map import addresses

# Addresses of our own apps carry the reason in their view; those that a library brings carry it here.
FROM_LIBRARIES = {
    "accounts/login/": "sign-in by password",
    "accounts/2fa/webauthn/login/": "sign-in by passkey",
    "accounts/2fa/authenticate/": "second factor of a sign-in",
    "accounts/logout/": "sign-out",
    "accounts/inactive/": "where the sign-in of a switched-off account ends",
    "accounts/reauthenticate/": "the password again, before what needs a fresh sign-in",
    "accounts/2fa/reauthenticate/": "the second factor again",
    "accounts/2fa/webauthn/reauthenticate/": "the passkey again",
    "accounts/password/change/": "one's own password",
    "accounts/password/reset/": "a password forgotten: asks for a mail",
    "accounts/password/reset/done/": "… says that it was sent",
    "accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": "… the link in it",
    "accounts/password/reset/key/done/": "… says that it worked",
    "accounts/2fa/": "one's second factors",
    "accounts/2fa/totp/activate/": "adds an authenticator app",
    "accounts/2fa/totp/deactivate/": "takes it away, never the last one where one is required",
    "accounts/2fa/webauthn/": "one's passkeys",
    "accounts/2fa/webauthn/add/": "adds a passkey",
    "accounts/2fa/webauthn/keys/<int:pk>/remove/": "takes one away, never the last one where one is required",
    "accounts/2fa/webauthn/keys/<int:pk>/edit/": "names one",
    "accounts/2fa/recovery-codes/": "one's recovery codes",
    "accounts/2fa/recovery-codes/generate/": "makes new ones",
    "accounts/2fa/recovery-codes/download/": "saves them",
    "accounts/sessions/": "where one is signed in, and signing out there",
    "accounts/signup/": "404: allauth's pages look the name up",
    "accounts/password/set/": "404: the same",
    "accounts/email/": "404: the same; no page touches a mail address",
    "api/schema": "the OpenAPI description",
    "admin/": "start of the back office",
    "admin/login/": "leads to the portal's sign-in",
    "admin/logout/": "sign-out",
    "admin/password_change/": "Django's admin links to it",
    "admin/password_change/done/": "the same",
    "admin/autocomplete/": "Django's admin",
    "admin/jsi18n/": "words of the admin's scripts",
    "admin/r/<path:content_type_id>/<path:object_id>/": "Django's admin",
    "admin/^(?P<app_label>…)/$": "one app of the back office",
    "admin/(?P<url>.*)$": "404 of the back office",
}
OURS = ("tenants.", "keys.", "support.", "byokportal.")


def module_of(view: Any) -> str:
    """Return where a view is written, whatever wraps it."""
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
    while hasattr(view, "__wrapped__"):
        view = view.__wrapped__
    return str(view.__module__)


def test_what_a_library_brings_is_in_the_list_and_nothing_else() -> None:
    # the order of the apps varies
    mounted = {re.sub(r"(?<=<app_label>)[a-z|]+", "…", one.route): one.view for one in addresses()}
    foreign = {route for route, view in mounted.items() if not module_of(view).startswith(OURS)}
    foreign |= {route for route in mounted if route.startswith("accounts/")}
    assert sorted(foreign - set(FROM_LIBRARIES)) == []
    assert sorted(set(FROM_LIBRARIES) - set(mounted)) == []


@pytest.mark.parametrize(
    "path",
    [
        "accounts/email/",
        "accounts/signup/",
        "accounts/password/set/",
        "accounts/confirm-email/",
        "accounts/confirm-email/x/",
        "accounts/login/code/confirm/",
        "accounts/login/code/",
        "accounts/signup/passkey/",
        "accounts/3rdparty/",
        "accounts/social/signup/",
        "accounts/2fa/trust/",
        "accounts/2fa/webauthn/signup/",
    ],
)
def test_the_rest_of_allauth_is_not_there(db: None, path: str) -> None:
    for client in (Client(), Client()):
        assert client.get(f"/{path}").status_code == 404
        assert client.post(f"/{path}", {"email": "x@evil.example"}).status_code == 404
