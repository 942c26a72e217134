"""A tenant's directory that speaks SAML 2.0: an identity provider of `pysaml2`, and a browser that walks over to it."""

from __future__ import annotations

import base64
import datetime as dt
import html
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from conftest import acting
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from directory import sign_in
from django.test import Client
from saml2 import BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

from tenants import saml_metadata, services
from tenants.models import Member, SignOnConnection

PASSWORD_ONLY = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
MFA = "https://refeds.org/profile/mfa"
TENANT_FACTS: dict[str, Any] = {
    "role_claim": "groups",
    "role_values": {"byok-admins": "admin", "byok-owners": "owner", "byok-auditors": "auditor"},
    "default_role": "",
    "may_make_owners": False,
    "factor_values": [MFA],
}


@dataclass(frozen=True)
class Pair:
    """A key and a certificate of it, as files and as text."""

    key: Path
    certificate: Path

    @classmethod
    def made(cls, folder: Path, name: str, *, days: float = 365, bits: int = 2048) -> Pair:
        key = rsa.generate_private_key(65537, bits)
        whose = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(whose)
            .issuer_name(whose)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=400))
            .not_valid_after(now + dt.timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{name}.key").write_bytes(key.private_bytes(pem, *plain))
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        return cls(folder / f"{name}.key", folder / f"{name}.crt")

    @property
    def body(self) -> str:
        """The certificate as metadata carries it."""
        return "".join(self.certificate.read_text().split("\n")[1:-2])


@dataclass
class SamlDirectory:
    """The directory's side: its people, and what it answers."""

    base: str
    pair: Pair
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)  # of each request, what pysaml2 read
    sp: str = ""  # our metadata, as it was told last
    # What it publishes at its address, if that is not its own metadata.
    published: str = ""

    @property
    def issuer(self) -> str:
        return f"{self.base}/saml"

    def metadata(self) -> str:
        return str(entity_descriptor(self._config()))

    def person(self, subject: str, **attributes: Any) -> str:
        """Let somebody be there, with these attributes."""
        self.people[subject] = {"email": [f"{subject}@acme.example"], **attributes}
        return subject

    def read(self, address: str, sp: str) -> Any:
        """Return the request of a browser that comes to the directory, checked against our metadata."""
        query = parse_qs(urlsplit(address).query)
        self.sp = sp
        request = self.server(sp).parse_authn_request(query["SAMLRequest"][0], BINDING_HTTP_REDIRECT).message
        self.asked.append(request)
        return request

    def answer(self, request: Any, subject: str, **options: Any) -> str:
        """Return the response about somebody, as XML."""
        said: dict[str, Any] = {
            "in_response_to": request.id,
            "destination": request.assertion_consumer_service_url,
            "sp_entity_id": request.issuer.text,
            "name_id": NameID(format=NAMEID_FORMAT_PERSISTENT, text=subject),
            "authn": {"class_ref": PASSWORD_ONLY, "authn_auth": self.issuer, "authn_instant": int(time.time())},
            "sign_assertion": True,
            "sign_response": False,
            "sign_alg": SIG_RSA_SHA256,
            "digest_alg": DIGEST_SHA256,
        }
        minutes = options.pop("minutes", 5)
        pair = options.pop("pair", None)
        issuer = options.pop("issuer", "")
        made = self.server(self.sp, minutes=minutes, pair=pair, issuer=issuer)
        return str(made.create_authn_response(self.people[subject], **{**said, **options}))

    def server(self, sp: str, **options: Any) -> Server:
        return Server(config=self._config(sp, **options))

    def _config(self, sp: str = "", *, minutes: float = 5, pair: Pair | None = None, issuer: str = "") -> IdPConfig:
        pair = pair or self.pair
        idp = {
            "endpoints": {"single_sign_on_service": [(f"{self.base}/sso", BINDING_HTTP_REDIRECT)]},
            "name_id_format": [NAMEID_FORMAT_PERSISTENT],
            "policy": {"default": {"lifetime": {"minutes": minutes}, "attribute_restrictions": None}},
        }
        return IdPConfig().load(
            {
                "entityid": issuer or self.issuer,
                "service": {"idp": idp},
                "key_file": str(pair.key),
                "cert_file": str(pair.certificate),
                "xmlsec_binary": "/usr/bin/xmlsec1",
                "metadata": {"inline": [sp]} if sp else {},
            }
        )


def our_metadata(tenant_id: Any) -> str:
    """Return what we publish for a tenant."""
    answer = Client().get(f"/sign-on/{tenant_id}/saml/metadata/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def connect(owner: Member, directory: SamlDirectory, **facts: Any) -> SignOnConnection:
    """Connect a tenant to the directory; nobody has tried it yet."""
    issuer, provider = saml_metadata.read(directory.metadata())
    return services.set_connection(
        owner.tenant,
        protocol="saml",
        issuer=issuer,
        provider=provider,
        **{**TENANT_FACTS, **facts},
        actor=acting(owner),
    )


Change = Callable[[str], str]


def as_it_is(xml: str) -> str:
    return xml


def asked(browser: Client, directory: SamlDirectory, began: Any) -> Any:
    """Follow a POST that began a sign-in as far as the directory; returns the request that it got."""
    assert began.status_code == 302, began.content.decode()[:500]
    assert began["Location"] == "/sign-on/go/", began["Location"]
    page = browser.get("/sign-on/go/")
    assert page.status_code == 200, page.content.decode()[:500]
    tenant_id = SignOnConnection.objects.get(issuer=directory.issuer, removed_at=None).tenant_id
    return directory.read(page["Refresh"].removeprefix("0;url="), our_metadata(tenant_id))


def posted(address: str, xml: str) -> Any:
    """Post a response as another site does: with none of our cookies. Returns the answer, and what it sets."""
    bare = Client(enforce_csrf_checks=True)
    given = {"SAMLResponse": base64.b64encode(xml.encode()).decode()}
    return bare.post(urlsplit(address).path, given, headers={"origin": "null", "sec-fetch-site": "cross-site"})


def delivered(browser: Client, answer: Any) -> Any:
    """Follow the redirect of a posted answer in a browser, with the cookie that it set."""
    if answer.status_code != 302:
        return answer
    browser.cookies["sign-on-answer"] = answer.cookies["sign-on-answer"].value
    return browser.get(answer["Location"])


def over(
    browser: Client, directory: SamlDirectory, subject: str, began: Any, change: Change = as_it_is, **options: Any
) -> Any:
    """Walk over to the directory and back after a POST that began a sign-in; returns what counts it answers."""
    request = asked(browser, directory, began)
    xml = change(directory.answer(request, subject, **options))
    return delivered(browser, posted(request.assertion_consumer_service_url, xml))


def begin(browser: Client, email: str) -> Any:
    return browser.post("/sign-on/", {"email": email})


def enter(browser: Client, directory: SamlDirectory, subject: str, *, email: str = "", **options: Any) -> Any:
    """Sign in by the directory; returns what the last step answers."""
    answer = over(browser, directory, subject, begin(browser, email or f"{subject}@acme.example"), **options)
    return browser.get(answer["Location"]) if answer.status_code == 302 else answer


def link_account(browser: Client, member: Member, directory: SamlDirectory, subject: str, **options: Any) -> Any:
    """Link one's own account by its fresh sign-in."""
    answer = over(browser, directory, subject, browser.post(f"/tenants/{member.tenant_id}/sign-on/link/"), **options)
    if answer.status_code != 302:
        return answer
    assert browser.get("/sign-on/finish/")["Location"] == "/sign-on/link/"
    return browser.post("/sign-on/link/")


def offered(owner: Member, directory: SamlDirectory, **facts: Any) -> SignOnConnection:
    """Connect a tenant, let its owner try it, and offer it."""
    connection = connect(owner, directory, **facts)
    name = owner.user.email.partition("@")[0]
    directory.person(name, email=[owner.user.email], groups=["byok-owners"])
    answer = link_account(sign_in(owner), owner, directory, name)
    assert answer.status_code == 302, answer.content.decode()
    return services.set_sign_on_mode(connection, mode="offered", actor=acting(owner))


# --- as a server, for a real browser and for metadata at an address ------------------------------------------------


@contextmanager
def running(folder: Path, name: str) -> Iterator[SamlDirectory]:
    """Run a directory at 127.0.0.1, which is another site than the localhost of ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    directory = SamlDirectory(f"http://127.0.0.1:{server.server_address[1]}", Pair.made(folder, name))
    server.directory = directory  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield directory
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        directory: SamlDirectory = self.server.directory  # type: ignore[attr-defined]
        if self.path.startswith("/metadata"):
            return self._say(directory.published or directory.metadata(), "application/samlmetadata+xml")
        form = f"<form method=post action='{html.escape(self.path)}'><input name=sub></form>"
        return self._say(f"<!doctype html><title>Sign in</title>{form}")

    def do_POST(self) -> None:
        directory: SamlDirectory = self.server.directory  # type: ignore[attr-defined]
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        request = directory.read(self.path, directory.sp)
        xml = directory.answer(request, body["sub"][0])
        value = base64.b64encode(xml.encode()).decode()
        self._say(
            f"<!doctype html><title>Back</title><form method=post action='{request.assertion_consumer_service_url}'>"
            f"<input type=hidden name=SAMLResponse value='{value}'></form><script>document.forms[0].submit()</script>"
        )

    def _say(self, text: str, kind: str = "text/html") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass
