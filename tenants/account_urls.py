"""The pages of allauth that we want, and no other; each line says why it is there.

A page that is not here does not exist. Above all there is none that adds or changes a mail address: an address is
what lets a person into an organisation, and only the link of an invitation proves one.
"""

from allauth.account import views as account
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as webauthn
from allauth.usersessions import views as sessions
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path, re_path

from tenants.second_factor import PasskeyAgain, RemovePasskey


def not_here(request: HttpRequest, **_: object) -> HttpResponse:
    """Answer for a name that allauth's own code looks up and that we do not offer."""
    raise Http404


urlpatterns = [
    path("login/", account.login, name="account_login"),  # sign-in by password
    path("2fa/webauthn/login/", webauthn.login_webauthn, name="mfa_login_webauthn"),  # sign-in by passkey
    path("2fa/authenticate/", mfa.authenticate, name="mfa_authenticate"),  # the second factor of a sign-in
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),  # where a switched-off account ends up
    # A sign-in that is too old for what is asked
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("2fa/reauthenticate/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("2fa/webauthn/reauthenticate/", PasskeyAgain.as_view(), name="mfa_reauthenticate_webauthn"),
    # The password: changed while signed in, chosen anew by a mailed link
    path("password/change/", account.password_change, name="account_change_password"),
    path("password/reset/", account.password_reset, name="account_reset_password"),
    path("password/reset/done/", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path("password/reset/key/done/", account.password_reset_from_key_done, name="account_reset_password_from_key_done"),
    # The second factor: authenticator app, passkeys, recovery codes
    path("2fa/", mfa.index, name="mfa_index"),
    path("2fa/totp/activate/", totp.activate_totp, name="mfa_activate_totp"),
    # never the last one: tenants.accounts
    path("2fa/totp/deactivate/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("2fa/webauthn/", webauthn.list_webauthn, name="mfa_list_webauthn"),
    path("2fa/webauthn/add/", webauthn.add_webauthn, name="mfa_add_webauthn"),
    path("2fa/webauthn/keys/<int:pk>/remove/", RemovePasskey.as_view(), name="mfa_remove_webauthn"),
    path("2fa/webauthn/keys/<int:pk>/edit/", webauthn.edit_webauthn, name="mfa_edit_webauthn"),
    path("2fa/recovery-codes/", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("2fa/recovery-codes/generate/", codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("2fa/recovery-codes/download/", codes.download_recovery_codes, name="mfa_download_recovery_codes"),
    # Where one is signed in, and signing out there
    path("sessions/", sessions.list_usersessions, name="usersessions_list"),
    # Names that allauth's pages look up; nobody signs up, sets a first password or touches an address by them
    path("signup/", not_here, name="account_signup"),
    path("password/set/", not_here, name="account_set_password"),
    path("email/", not_here, name="account_email"),
]
