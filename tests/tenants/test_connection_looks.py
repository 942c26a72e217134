"""What a directory says of itself is read each day; what changed reaches the owners, and an issuer never changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import directory as oidc_directory
import pytest
import saml_directory as dir
from directory import verified_domain
from saml_directory import Pair, SamlDirectory

from byokportal import clock
from support import follow
from tenants import audit, connection_looks, saml_metadata, services
from tenants.models import AuditEvent, Member, SignOnConnection, Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def idp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamlDirectory]:
    with dir.running(tmp_path_factory.mktemp("idp"), "acme") as running:
        yield running


@pytest.fixture
def connection(idp: SamlDirectory, settings: Any, tenant: Tenant, alice: Member) -> SignOnConnection:
    """A connection whose metadata stands at an address, and is due."""
    settings.OUTBOUND_ALLOW = [idp.base]
    idp.published = ""
    verified_domain(tenant)
    issuer, provider = saml_metadata.fetched(f"{idp.base}/metadata", whose="t")
    facts = {"tenant": tenant, "protocol": "saml", "issuer": issuer, "provider": provider, "mode": "offered"}
    return SignOnConnection.objects.create(**facts)


def look(connection: SignOnConnection) -> SignOnConnection:
    """Have the daily look at it now."""
    SignOnConnection.objects.filter(pk=connection.pk).update(next_look_at=clock.now())
    assert connection_looks.due() == [str(connection.pk)]
    connection_looks.look(str(connection.pk))
    assert connection_looks.due() == []
    connection.refresh_from_db()
    return connection


def said(tenant: Tenant) -> list[str]:
    names = AuditEvent.objects.of(tenant).filter(name__startswith="tenants.sign_on.").order_by("pk")
    return [one.removeprefix("tenants.sign_on.") for one in names.values_list("name", flat=True)]


def test_a_look_that_finds_the_same_leaves_no_word(tenant: Tenant, connection: SignOnConnection) -> None:
    look(connection)
    assert connection.look_problem == ""
    assert connection.next_look_at > clock.now() + timedelta(hours=23)
    assert said(tenant) == []


def test_a_new_certificate_is_taken_over_and_the_owners_hear_of_it(
    tenant: Tenant, alice: Member, connection: SignOnConnection, idp: SamlDirectory, tmp_path: Path
) -> None:
    new = Pair.made(tmp_path, "new")
    idp.published = idp.metadata().replace(idp.pair.body, new.body)
    look(connection)
    assert connection.provider["certificates"] == [new.body]
    assert said(tenant) == ["directory_changed"]
    event = AuditEvent.objects.of(tenant).get(name="tenants.sign_on.directory_changed")
    assert "its certificates" in audit.sentence(event)
    while follow.follow():
        pass
    assert tenant.notices.filter(recipient=alice.user.email, template="sign-on-changed").exists()


def test_another_issuer_is_never_taken_over(
    tenant: Tenant, connection: SignOnConnection, idp: SamlDirectory, tmp_path: Path
) -> None:
    before = dict(connection.provider)
    other = Pair.made(tmp_path, "evil")
    moved = idp.metadata().replace(idp.issuer, "https://evil.example/saml")
    idp.published = moved.replace(idp.pair.body, other.body)
    for _ in range(2):
        look(connection)
        assert connection.provider == before
        assert "another directory" in connection.look_problem
    assert said(tenant) == ["look_failed"], "once, and not each day"
    idp.published = ""
    look(connection)
    assert connection.look_problem == ""


@pytest.mark.parametrize("published", ["<html/>", "not XML", "<!DOCTYPE a><a/>"])
def test_what_is_no_metadata_changes_nothing(
    tenant: Tenant, connection: SignOnConnection, idp: SamlDirectory, published: str
) -> None:
    before = dict(connection.provider)
    idp.published = published
    look(connection)
    assert connection.provider == before
    assert connection.look_problem


@pytest.mark.parametrize("text", ["client_secret_post\\u0000", "\\ud800"])
def test_a_text_that_no_row_can_hold_is_told_to_the_owners(
    tenant: Tenant, alice: Member, settings: Any, text: str
) -> None:
    class Issuer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            body = json.dumps({"issuer": issuer, **{name: f"{issuer}/{name}" for name in names}})
            body = f'{body[:-1]}, "token_endpoint_auth_methods_supported": ["{text}"]}}'
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Issuer) as server:
        issuer = f"http://127.0.0.1:{server.server_port}"
        settings.OUTBOUND_ALLOW = [issuer]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        connection = SignOnConnection.objects.create(tenant=tenant, issuer=issuer, provider={}, mode="offered")
        look(connection)
        server.shutdown()
    assert connection.provider == {}
    assert "did not answer as OpenID Connect says" in connection.look_problem
    assert said(tenant) == ["look_failed"]


def test_the_owners_hear_three_times_that_the_last_certificate_ends(
    tenant: Tenant, connection: SignOnConnection, tmp_path: Path
) -> None:
    def ending(days: float) -> None:
        pair = Pair.made(tmp_path, f"in-{days}", days=days)
        SignOnConnection.objects.filter(pk=connection.pk).update(provider={"certificates": [pair.body]})
        look(connection)

    for days in (40, 29, 28, 6, 5, -1, -2):
        ending(days)
    assert said(tenant) == ["certificate_ends"] * 3
    ending(365)
    ending(20)
    assert said(tenant) == ["certificate_ends"] * 4


def test_what_an_owner_changed_meanwhile_stays(connection: SignOnConnection) -> None:
    as_it_was = SignOnConnection.objects.get(pk=connection.pk)
    SignOnConnection.objects.filter(pk=connection.pk).update(provider={"certificates": [], "sso_url": "new"})
    connection_looks._note(as_it_was, {"sso_url": "old"}, "")
    connection.refresh_from_db()
    assert connection.provider["sso_url"] == "new"


def test_endpoints_of_openid_connect_are_read_again(tenant: Tenant, alice: Member, settings: Any) -> None:
    with oidc_directory.running() as running:
        settings.OUTBOUND_ALLOW = [running.issuer]
        connection = oidc_directory.connect(alice, running)
        before = dict(connection.provider)
        SignOnConnection.objects.filter(pk=connection.pk).update(
            provider={**before, "jwks_uri": "https://old.example/"}
        )
        assert look(connection).provider == before
    look(connection)
    assert connection.provider == before
    assert "refused the connection" in connection.look_problem
    assert said(tenant) == ["set_up", "directory_changed", "look_failed"]
    services.remove_connection(services.connection_of(tenant), reason="r", actor=oidc_directory.acting(alice))
    assert connection_looks.due() == []
