"""Second factors: stored encrypted, and the last one is never taken away by the person alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret, hotp_value, yield_hotp_counters_from_time
from django.core import mail as django_mail
from django.test import Client, TestCase

from support import follow, notices
from tenants import audit, second_factor
from tenants.models import AuditEvent, Member


def test_the_secret_of_an_authenticator_app_is_encrypted_at_rest(alice: Member) -> None:
    secret = generate_totp_secret()
    TOTP.activate(alice.user, secret)
    kept = Authenticator.objects.get(user=alice.user).data["secret"]
    assert secret not in kept
    assert second_factor.Adapter().decrypt(kept) == secret
    code = f"{hotp_value(secret, next(yield_hotp_counters_from_time())):06}"
    assert Authenticator.objects.get(user=alice.user).wrap().validate_code(code)


def test_what_was_stored_before_is_read_as_it_is() -> None:
    assert second_factor.Adapter().decrypt("JBSWY3DPEHPK3PXP") == "JBSWY3DPEHPK3PXP"


def test_after_a_change_of_the_secret_key_the_old_one_still_opens(settings: object) -> None:
    sealed = second_factor.Adapter().encrypt("JBSWY3DPEHPK3PXP")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]  # type: ignore[attr-defined]
    settings.SECRET_KEY = "another-secret-key-of-tests-0123456789-0123456789-0123456789"  # type: ignore[attr-defined]
    assert second_factor.Adapter().decrypt(sealed) == "JBSWY3DPEHPK3PXP"


@pytest.fixture
def app(alice: Member) -> Authenticator:
    TOTP.activate(alice.user, generate_totp_secret())
    return Authenticator.objects.get(user=alice.user)


def _passkey(alice: Member) -> Authenticator:
    return Authenticator.objects.create(
        user=alice.user, type=Authenticator.Type.WEBAUTHN, data={"name": "key", "credential": {}}
    )


def test_the_last_one_stays_where_one_is_required(
    alice: Member, app: Authenticator, browser_of: Callable[..., Client], settings: object
) -> None:
    settings.MFA_REQUIRED = True  # type: ignore[attr-defined]
    browser = browser_of(alice)
    Authenticator.objects.create(
        user=alice.user, type=Authenticator.Type.RECOVERY_CODES, data={"seed": "x", "used_mask": 0}
    )
    browser.post("/accounts/2fa/totp/deactivate/")
    assert Authenticator.objects.filter(pk=app.pk).exists()
    key = _passkey(alice)
    assert browser.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(pk=app.pk).exists()
    assert browser.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")["Location"] == "/accounts/2fa/webauthn/"
    assert Authenticator.objects.filter(pk=key.pk).exists()


def test_where_none_is_required_it_may_go(
    alice: Member, app: Authenticator, browser_of: Callable[..., Client], settings: object
) -> None:
    settings.MFA_REQUIRED = False  # type: ignore[attr-defined]
    assert browser_of(alice).post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(pk=app.pk).exists()


@pytest.mark.parametrize("path", ["totp/activate/", "totp/deactivate/", "webauthn/add/", "recovery-codes/generate/"])
def test_changing_one_needs_a_fresh_sign_in(
    alice: Member, app: Authenticator, browser_of: Callable[..., Client], path: str
) -> None:
    if path == "totp/activate/":
        app.delete()
    answer = browser_of(alice, is_fresh=False).post(f"/accounts/2fa/{path}", {"code": "123456"})
    assert answer.status_code == 302
    assert "reauthenticate" in answer["Location"]


def changes() -> list[tuple[str, str | None, str]]:
    """Return what the logs say of changed sign-ins: name, organisation, sentence."""
    rows = AuditEvent.objects.filter(name__endswith=".sign_in_changed").order_by("id")
    return [(row.name, row.tenant.name if row.tenant else None, audit.sentence(row)) for row in rows]


def test_who_changes_how_they_sign_in_hears_of_it_by_mail_and_the_log_has_a_row(
    alice: Member, app: Authenticator, browser_of: Callable[..., Client], settings: object
) -> None:
    settings.MFA_REQUIRED = False  # type: ignore[attr-defined]
    alice.user.set_password("a-password-of-tests-only")
    alice.user.save()
    browser, new = browser_of(alice), "another-password-of-tests"
    with TestCase.captureOnCommitCallbacks(execute=True):
        browser.post("/accounts/2fa/recovery-codes/generate/")
        browser.post("/accounts/2fa/totp/deactivate/")
        browser.post(
            "/accounts/password/change/",
            {"oldpassword": "a-password-of-tests-only", "password1": new, "password2": new},
        )
    said = [sentence for name, _, sentence in changes() if name == "tenants.account.sign_in_changed"]
    assert [sentence.partition(": ")[2] for sentence in said] == [
        "an authenticator app went from the second factors.",
        "recovery codes went from the second factors.",
        "a new password was chosen.",
        "new recovery codes were made, and the old ones ended.",
    ]
    in_the_organisation = [what for name, where, what in changes() if where == alice.tenant.name]
    assert in_the_organisation == said
    follow.follow()
    notices.send_due()
    mails = [mail for mail in django_mail.outbox if mail.subject == "How you sign in was changed"]
    assert [mail.to for mail in mails] == [[alice.user.email]] * 4
    assert all("/accounts/password/reset/" in str(mail.body) for mail in mails)


def test_a_password_that_is_wrong_changes_nothing_and_says_nothing(
    alice: Member, browser_of: Callable[..., Client]
) -> None:
    browser_of(alice).post("/accounts/password/change/", {"oldpassword": "x", "password1": "y", "password2": "y"})
    assert changes() == []
