"""A tenant's directory that speaks OpenID Connect (`oidc-provider-mock`), and a browser that walks over to it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import oidc_provider_mock
from conftest import PASSWORD, acting
from django.test import Client

from byokportal import clock
from tenants import fresh, oidc, services
from tenants.models import MailDomain, Member, SignOnConnection, Tenant


class Directory:
    """The directory's side: its people, and what a browser is asked there."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://localhost:{port}"
        self.asked: list[dict[str, list[str]]] = []  # of each authorization request, its query

    def person(self, subject: str, **claims: Any) -> str:
        """Let somebody be there, with these claims."""
        body = json.dumps({"email": f"{subject}@acme.example", **claims}).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(
            urllib.request.Request(f"{self.issuer}/users/{subject}", body, headers, method="PUT")
        ).close()
        return subject

    def authorize(self, address: str, subject: str, *, action: str = "authorize") -> str:
        """Sign in there as somebody, and return the address that the browser is sent back to."""
        self.asked.append(parse_qs(urlsplit(address).query))
        form = urlencode({"sub": subject, "action": action}).encode()
        try:
            urllib.request.build_opener(_NoRedirect).open(address, form)
        except urllib.error.HTTPError as answer:
            return str(answer.headers["Location"])
        raise AssertionError("the directory sent nobody back")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@contextmanager
def running() -> Iterator[Directory]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield Directory(server.server_port)


def verified_domain(tenant: Tenant, name: str = "acme.example") -> MailDomain:
    """Return a mail domain of the tenant whose record was seen."""
    return MailDomain.objects.create(
        tenant=tenant, name=name, token="t", status="verified", seen_at=clock.now(), next_look_at=None
    )


def connect(owner: Member, directory: Directory, **facts: Any) -> SignOnConnection:
    """Connect a tenant to the directory; nobody has tried it yet."""
    given: dict[str, Any] = {
        "client_id": "byok",
        "client_secret": "a secret of tests",
        "role_claim": "groups",
        "role_values": {"byok-admins": "admin", "byok-owners": "owner", "byok-auditors": "auditor"},
        "default_role": "",
        "may_make_owners": False,
        "factor_values": ["mfa"],
    }
    provider = oidc.discover(directory.issuer, whose=str(owner.tenant_id))
    return services.set_connection(
        owner.tenant, issuer=directory.issuer, **{**given, **facts}, provider=provider, actor=acting(owner)
    )


def over(browser: Client, directory: Directory, subject: str, began: Any) -> Any:
    """Walk over to the directory and back after a POST that began a sign-in; returns the callback's answer."""
    assert began.status_code == 302, began.content.decode()[:500]
    assert began["Location"] == "/sign-on/go/", began["Location"]
    page = browser.get("/sign-on/go/")
    assert page.status_code == 200
    address = page["Refresh"].removeprefix("0;url=")
    return back(browser, directory.authorize(address, subject))


def back(browser: Client, address: str) -> Any:
    """Follow the directory's redirect into the same browser."""
    parts = urlsplit(address)
    return browser.get(f"{parts.path}?{parts.query}")


def enter(browser: Client, directory: Directory, subject: str, *, email: str = "") -> Any:
    """Sign in by the directory; returns what the last step answers."""
    began = browser.post("/sign-on/", {"email": email or f"{subject}@acme.example"})
    answer = over(browser, directory, subject, began)
    return browser.get(answer["Location"]) if answer.status_code == 302 else answer


def sign_in(member: Member) -> Client:
    """Return a browser that signed in by the page with the password, a moment ago."""
    browser = Client()
    answer = browser.post("/accounts/login/", {"login": member.user.email, "password": PASSWORD})
    assert answer.status_code == 302
    session = browser.session
    assert fresh.KEY in session
    return browser


def link(browser: Client, member: Member, directory: Directory, subject: str) -> Any:
    """Link one's own account by its fresh sign-in."""
    began = browser.post(f"/tenants/{member.tenant_id}/sign-on/link/")
    answer = over(browser, directory, subject, began)
    if answer.status_code != 302:
        return answer
    assert browser.get("/sign-on/finish/")["Location"] == "/sign-on/link/"
    assert browser.get("/sign-on/link/").status_code == 200
    return browser.post("/sign-on/link/")


def offered(owner: Member, directory: Directory, **facts: Any) -> SignOnConnection:
    """Connect a tenant, let its owner try it, and offer it."""
    connection = connect(owner, directory, **facts)
    directory.person(owner.user.email.partition("@")[0], groups=["byok-owners"])
    answer = link(sign_in(owner), owner, directory, owner.user.email.partition("@")[0])
    assert answer.status_code == 302, answer.content.decode()
    return services.set_sign_on_mode(connection, mode="offered", actor=acting(owner))


def required(owner: Member, directory: Directory, keeper: Member, **facts: Any) -> SignOnConnection:
    """Connect a tenant and require the sign-on of everybody but one owner."""
    connection = offered(owner, directory, **facts)
    return services.set_sign_on_mode(connection, mode="required", break_glass=keeper, actor=acting(owner))
