"""Sign-on by a directory that speaks SAML 2.0, end to end against a real identity provider (`pysaml2`)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import saml_directory as dir
import time_machine
from conftest import acting, invited
from directory import sign_in, verified_domain
from django.core import mail
from django.test import Client
from saml_directory import Pair, SamlDirectory, enter, offered

from byokportal import clock
from byokportal.errors import InvalidInput, NotAllowed
from support import follow, notices
from tenants import saml_metadata, services, tasks
from tenants.errors import SecondPersonNeeded
from tenants.models import AuditEvent, Member, SignOnAssertion, SignOnConnection, SignOnIdentity, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlDirectory]:
    with dir.running(tmp_path_factory.mktemp("idp"), "acme") as running:
        yield running


@pytest.fixture
def directory(_running: SamlDirectory, settings: Any, tenant: Tenant) -> SamlDirectory:
    """Acme Bank's directory; its domain is verified."""
    settings.OUTBOUND_ALLOW = [_running.base]
    _running.asked.clear()
    _running.people.clear()
    _running.published = ""
    verified_domain(tenant)
    return _running


def tracker(tenant: Tenant) -> str:
    return f"/tenants/{tenant.pk}/"


def test_a_person_of_the_directory_becomes_a_member_with_the_role_of_an_attribute(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    offered(alice, directory)
    directory.person("dora", groups=["everybody", "byok-auditors", "byok-admins"])
    browser = Client()
    answer = enter(browser, directory, "dora")
    assert answer["Location"] == tracker(tenant), answer.content.decode()
    assert browser.get(tracker(tenant)).status_code == 200
    dora = Member.objects.of(tenant).get(user__email="dora@acme.example")
    assert dora.role == "admin"
    identity = SignOnIdentity.objects.get(member=dora)
    assert (identity.subject, identity.issuer, identity.made_account) == ("dora", directory.issuer, True)
    assert SignOnAssertion.objects.count() == 2


def test_the_same_person_comes_back_whatever_the_address_is_then(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    offered(alice, directory)
    directory.person("dora", groups=["byok-admins"])
    enter(Client(), directory, "dora")
    directory.person("dora", email=["dora.new@acme.example"], groups=["byok-auditors"])
    enter(Client(), directory, "dora")
    dora = Member.objects.of(tenant).get(sign_on_identities__subject="dora")
    assert (dora.user.email, dora.role) == ("dora.new@acme.example", "auditor")


def test_it_counts_as_a_second_factor_only_by_a_context_that_the_owner_listed(
    tenant: Tenant, alice: Member, directory: SamlDirectory, settings: Any
) -> None:
    offered(alice, directory, default_role="auditor")
    settings.MFA_REQUIRED = True
    directory.person("dora")
    for context, is_enough in ((dir.PASSWORD_ONLY, False), (dir.MFA, True)):
        browser = Client()
        authn = {"class_ref": context, "authn_auth": directory.issuer, "authn_instant": int(time.time())}
        enter(browser, directory, "dora", authn=authn)
        answer = browser.get(tracker(tenant))
        assert (answer.status_code == 200) == is_enough, context


def again(browser: Client, tenant: Tenant, directory: SamlDirectory, subject: str, *, ago: int = 0) -> Any:
    """Ask for something that needs a fresh sign-in, and go through it; returns the last answer."""
    wanted = browser.post(f"/tenants/{tenant.pk}/sign-on/domains/", {"name": "more.example"})
    assert wanted["Location"].startswith("/sign-on/again/")
    authn = {"class_ref": dir.MFA, "authn_auth": directory.issuer, "authn_instant": int(time.time()) - ago}
    began = browser.post(wanted["Location"], {"next": tracker(tenant)})
    answer = dir.over(browser, directory, subject, began, authn=authn)
    return browser.get(answer["Location"]) if answer.status_code == 302 else answer


def test_step_up_asks_for_a_new_sign_in_and_checks_that_it_was_one(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    offered(alice, directory)
    browser = Client()
    enter(browser, directory, "alice")
    assert directory.asked[-1].force_authn is None
    refused = again(browser, tenant, directory, "alice", ago=120)
    assert "did not ask you anew" in refused.content.decode()
    directory.person("eve", email=["alice@acme.example"])
    refused = again(browser, tenant, directory, "eve")
    assert "Somebody else signed in" in refused.content.decode()
    assert again(browser, tenant, directory, "alice")["Location"] == tracker(tenant)
    assert directory.asked[-1].force_authn == "true"
    browser.post(f"/tenants/{tenant.pk}/sign-on/domains/", {"name": "more.example"})
    assert tenant.mail_domains.filter(name="more.example").exists()


def test_a_directory_may_sign_by_its_old_or_its_new_certificate(
    tenant: Tenant, alice: Member, directory: SamlDirectory, tmp_path: Path
) -> None:
    connection = offered(alice, directory, default_role="auditor")
    new = Pair.made(tmp_path, "new")
    kept = [*connection.provider["certificates"], new.body]
    SignOnConnection.objects.filter(pk=connection.pk).update(provider={**connection.provider, "certificates": kept})
    directory.person("dora")
    for pair in (directory.pair, new):
        assert enter(Client(), directory, "dora", pair=pair)["Location"] == tracker(tenant)
    page = sign_in(alice).get(f"/tenants/{tenant.pk}/sign-on/").content.decode()
    for certificate in saml_metadata.certificates_of({"certificates": kept}):
        assert certificate.fingerprint in page


# --- set up, by page and by API ------------------------------------------------------------------------------------


def test_an_owner_sets_it_up_on_the_page_by_pasting_or_by_an_address(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    browser, page = sign_in(alice), f"/tenants/{tenant.pk}/sign-on/"
    shown = browser.get(f"{page}saml/").content.decode()
    assert f"http://localhost:8000/sign-on/{tenant.pk}/saml/metadata/" in shown
    assert f"http://localhost:8000/sign-on/{tenant.pk}/saml/" in shown
    assert "Give the address of the metadata" in browser.post(f"{page}saml/", {}).content.decode()
    given = {"role_claim": "groups", "admins": "a, b", "auditors": "c", "factors": dir.MFA}
    assert browser.post(f"{page}saml/", {**given, "metadata": directory.metadata()}).status_code == 302
    connection = SignOnConnection.objects.get()
    assert (connection.protocol, connection.issuer) == ("saml", directory.issuer)
    assert connection.provider["sso_url"] == f"{directory.base}/sso"
    at = f"{directory.base}/metadata"
    assert browser.post(f"{page}saml/", {**given, "metadata_url": at}).status_code == 302
    connection.refresh_from_db()
    assert connection.provider["metadata_url"] == at
    assert browser.post(f"{page}saml/", {**given, "admins": "d"}).status_code == 302
    connection.refresh_from_db()
    assert "metadata_url" not in connection.provider or not connection.provider["metadata_url"]
    assert connection.role_values == {"d": "admin", "c": "auditor"}
    assert browser.get(f"{page}connection/").status_code == 404, "one connection at a time"
    assert "SAML 2.0" in browser.get(page).content.decode()


def test_another_issuer_or_another_protocol_is_another_connection(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    dir.connect(alice, directory)
    other = directory.metadata().replace(directory.issuer, "https://evil.example/saml")
    answer = sign_in(alice).post(f"/tenants/{tenant.pk}/sign-on/saml/", {"metadata": other})
    assert "Remove this connection" in answer.content.decode()
    with pytest.raises(InvalidInput) as raised:
        services.set_connection(
            tenant,
            protocol="oidc",
            issuer=directory.issuer,
            client_id="c",
            client_secret="s",
            provider={},
            role_claim="",
            role_values={},
            default_role="",
            may_make_owners=False,
            factor_values=[],
            actor=acting(alice),
        )
    assert "protocol" in raised.value.errors


def test_the_api_does_the_same(
    tenant: Tenant, alice: Member, directory: SamlDirectory, api_of: Callable[..., Client]
) -> None:
    api, base = api_of(alice), f"/api/v1/tenants/{tenant.pk}/sign-on"
    given = {"protocol": "saml", "metadata": directory.metadata(), "default_role": "auditor", "factor_values": []}
    made = api.put(base, given, content_type="application/json")
    assert made.status_code == 200, made.content
    assert (made.json()["protocol"], made.json()["issuer"]) == ("saml", directory.issuer)
    (certificate,) = made.json()["certificates"]
    assert len(certificate["fingerprint"]) == 95
    at = {**given, "metadata": "", "metadata_url": f"{directory.base}/metadata"}
    del at["metadata"]
    assert api.put(base, at, content_type="application/json").json()["metadata_url"] == at["metadata_url"]
    for broken, code in (
        ({"metadata": "<a"}, "directory_unfit"),
        ({}, "invalid_input"),
        ({"metadata_url": "http://169.254.169.254/"}, "address_refused"),
        ({"protocol": "oidc"}, "invalid_input"),
        ({"protocol": "ldap"}, "invalid_input"),
    ):
        answer = api.put(base, {"protocol": "saml", **broken}, content_type="application/json")
        assert answer.json()["code"] == code, broken


@pytest.mark.parametrize("role", ["admin", "auditor"])
def test_only_an_owner_changes_it(
    tenant: Tenant, alice: Member, directory: SamlDirectory, role: str, browser_of: Callable[..., Client]
) -> None:
    person = invited(tenant, "eve@acme.example", role)
    with pytest.raises(NotAllowed):
        dir.connect(person, directory)
    page = f"/tenants/{tenant.pk}/sign-on/saml/"
    assert browser_of(person).post(page, {"metadata": directory.metadata()}).status_code == 403
    assert not SignOnConnection.objects.exists()


def test_a_second_person_approves_just_these_certificates(
    tenant: Tenant, alice: Member, directory: SamlDirectory
) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(second_person_since=clock.now())
    with pytest.raises(SecondPersonNeeded) as raised:
        dir.connect(alice, directory)
    (certificate,) = saml_metadata.certificates_of(saml_metadata.read(directory.metadata())[1])
    assert certificate.fingerprint in raised.value.asked["arguments"]
    assert not SignOnConnection.objects.exists()


def test_every_owner_hears_of_it(tenant: Tenant, alice: Member, directory: SamlDirectory) -> None:
    carol = invited(tenant, "carol@acme.example", "owner")
    offered(alice, directory)
    assert AuditEvent.objects.of(tenant).filter(name="tenants.sign_on.saml_set_up").exists()
    while follow.follow():
        pass
    mail.outbox.clear()
    notices.send_due()
    to_carol = "\n".join(str(one.body) for one in mail.outbox if one.to == [carol.user.email])
    assert "(SAML 2.0) was set up; it signs by" in to_carol


def test_what_is_over_is_cleared_away(alice: Member, directory: SamlDirectory) -> None:
    offered(alice, directory)
    assert SignOnAssertion.objects.exists()
    with time_machine.travel(clock.now().timestamp() + 86_400):
        tasks.clear_expired()
    assert not SignOnAssertion.objects.exists()


def test_our_metadata_says_nothing_about_whether_there_is_a_tenant(tenant: Tenant) -> None:
    other = uuid.uuid4()
    there, nowhere = dir.our_metadata(tenant.pk), dir.our_metadata(other)
    assert there.replace(str(tenant.pk), str(other)) == nowhere
