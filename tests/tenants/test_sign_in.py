"""Signing in: by invitation only, with a second factor where it is required."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.test import Client

from tenants.models import Member, Tenant


def test_nobody_signs_up(db: None) -> None:
    page = Client().post(
        "/accounts/signup/", {"email": "stranger@evil.example", "password1": "a long enough passphrase"}
    )
    assert page.status_code in {200, 404}
    assert not User.objects.exists()


def test_a_member_signs_in_by_mail_address(tenant: Tenant, alice: Member) -> None:
    alice.user.set_password("a long enough passphrase")
    alice.user.save()
    client = Client()
    assert client.post("/accounts/login/", {"login": "alice@acme.example", "password": "wrong"}).status_code == 200
    answer = client.post("/accounts/login/", {"login": "Alice@acme.example", "password": "a long enough passphrase"})
    assert answer.status_code == 302
    assert client.get("/", follow=True).redirect_chain[-1][0] == f"/tenants/{tenant.pk}/"


@pytest.mark.parametrize("path", ["/", "tracker", "/admin/"])
def test_without_a_second_factor_only_its_set_up_is_open(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client], settings: object, path: str
) -> None:
    settings.MFA_REQUIRED = True  # type: ignore[attr-defined]
    browser = browser_of(alice)
    answer = browser.get(f"/tenants/{tenant.pk}/" if path == "tracker" else path)
    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/2fa/"
    assert browser.get("/accounts/logout/").status_code == 200


def test_with_a_second_factor_the_portal_is_open(
    alice: Member, tenant: Tenant, browser_of: Callable[[Member], Client], settings: object
) -> None:
    settings.MFA_REQUIRED = True  # type: ignore[attr-defined]
    Authenticator.objects.create(user=alice.user, type=Authenticator.Type.TOTP, data={"secret": "x"})
    assert browser_of(alice).get(f"/tenants/{tenant.pk}/").status_code == 200
