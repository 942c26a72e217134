"""Attempts to take over an account or an organisation by SAML: each one is refused, and nothing is left of it.

Acme Bank (Alice, owner, linked; Bob, auditor, not) has the directory and the domain acme.example. Mallory, the owner of
another organisation, has a directory too, and changes what ours says wherever it passes her.
"""

from __future__ import annotations

import base64
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import saml_directory as dir
from conftest import acting
from directory import verified_domain
from django.contrib.auth.models import User
from django.test import Client
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NAMEID_FORMAT_TRANSIENT
from saml2.xmldsig import DIGEST_SHA1, SIG_RSA_SHA1
from saml_directory import Pair, SamlDirectory, asked, begin, connect, delivered, enter, posted

from byokportal import clock
from tenants import saml_metadata, services
from tenants.models import (
    ATTEMPT_LASTS,
    Member,
    SignOnAssertion,
    SignOnAttempt,
    SignOnConnection,
    SignOnIdentity,
    SignOnSession,
    Tenant,
)
from tenants.saml_xml import NAMES

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """Both organisations, each with its directory."""

    tenant: Tenant
    alice: Member
    bob: Member
    mallory: Member
    acme: SamlDirectory
    evil: SamlDirectory

    @property
    def page(self) -> str:
        return f"/tenants/{self.tenant.pk}/"

    def reaches(self, browser: Client) -> bool:
        """Tell whether a browser sees Acme Bank."""
        answer = browser.get(self.page)
        return answer.status_code == 200 and "Acme Bank" in answer.content.decode()

    def saved(self) -> tuple[object, ...]:
        """Return all that a sign-in could leave."""
        return (
            set(Member.objects.values_list("tenant", "user__email", "role")),
            set(SignOnIdentity.objects.values_list("subject", "member")),
            SignOnSession.objects.count(),
            User.objects.count(),
            SignOnAttempt.objects.filter(asserted__isnull=False).count(),
        )


@pytest.fixture(scope="module")
def _directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[SamlDirectory, SamlDirectory]:
    folder = tmp_path_factory.mktemp("idp")
    acme, evil = (SamlDirectory(f"https://{name}.example", Pair.made(folder, name)) for name in ("acme", "evil"))
    return acme, evil


@pytest.fixture
def world(
    tenant: Tenant,
    alice: Member,
    bob: Member,
    mallory: Member,
    _directories: tuple[SamlDirectory, SamlDirectory],
) -> World:
    acme, evil = _directories
    verified_domain(tenant, "acme.example")
    verified_domain(mallory.tenant, "evil.example")
    for owner, directory, name in ((alice, acme, "alice"), (mallory, evil, "mallory")):
        connection = connect(owner, directory, default_role="auditor")
        SignOnConnection.objects.filter(pk=connection.pk).update(mode="offered")
        facts = {"issuer": directory.issuer, "subject": name, "email": owner.user.email}
        SignOnIdentity.objects.create(connection=connection, member=owner, **facts)
        directory.people.clear()
        directory.person(name, email=[owner.user.email])
    acme.person("eve", email=["eve@acme.example"])
    return World(tenant, alice, bob, mallory, acme, evil)


# --- what is changed, before and after the directory signs -----------------------------------------------------------

Xml = Any
SAML, DS, SAMLP = (f"{{{NAMES[name]}}}" for name in ("saml", "ds", "samlp"))
XPATHS = NAMES


def found(root: Xml, path: str) -> Xml:
    return root.xpath(path, namespaces=XPATHS)[0]


def signed(pair: Pair, xml: str, *changes: Callable[[Xml], object]) -> str:
    """Return a response whose assertion is changed, and signed then: a directory that says just this."""
    root = etree.fromstring(xml.encode())
    for change in changes:
        change(root)
    assertion = found(root, "saml:Assertion")
    alone = OneLogin_Saml2_Utils.add_sign(etree.tostring(assertion), pair.key.read_text(), pair.certificate.read_text())
    root.replace(assertion, etree.fromstring(alone))
    return etree.tostring(root).decode()


def put(path: str, name: str, value: str | None) -> Callable[[Xml], None]:
    """Set an attribute of the element at a path, or take it away."""

    def change(root: Xml) -> None:
        element = found(root, path) if path else root
        if value is None:
            element.attrib.pop(name, None)
        else:
            element.set(name, value)

    return change


def text(path: str, value: str) -> Callable[[Xml], None]:
    return lambda root: setattr(found(root, path), "text", value)


def drop(path: str) -> Callable[[Xml], None]:
    def change(root: Xml) -> None:
        one = found(root, path)
        one.getparent().remove(one)

    return change


def twice(path: str) -> Callable[[Xml], None]:
    def change(root: Xml) -> None:
        one = found(root, path)
        one.getparent().append(copy.deepcopy(one))

    return change


def add(path: str, xml: str) -> Callable[[Xml], None]:
    return lambda root: found(root, path).append(etree.fromstring(xml))


def at(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


A = "saml:Assertion"
CONFIRMATION = f"{A}/saml:Subject/saml:SubjectConfirmation"
DATA = f"{CONFIRMATION}/saml:SubjectConfirmationData"
STATEMENT = f"{A}/saml:AuthnStatement"
NAME = f"{A}/saml:Subject/saml:NameID"
EMAILS = f"{A}/saml:AttributeStatement/saml:Attribute"
ELSEWHERE = "https://byok.evil.example/sign-on/"

# The directory itself says it, and signs it well; each fails one check alone.
SAID: dict[str, tuple[Callable[[], Callable[[Xml], object]], str]] = {
    "another audience": (lambda: text(f"{A}//saml:Audience", ELSEWHERE), "Set our entity ID"),
    "no audience": (lambda: drop(f"{A}/saml:Conditions/saml:AudienceRestriction"), "speaks to “nobody”"),
    "a second restriction to others": (
        lambda: add(
            f"{A}/saml:Conditions",
            f'<a:AudienceRestriction xmlns:a="{NAMES["saml"]}"><a:Audience>x</a:Audience></a:AudienceRestriction>',
        ),
        "Set our entity ID",
    ),
    "an unknown condition": (
        lambda: add(
            f"{A}/saml:Conditions",
            f'<a:Condition xmlns:a="{NAMES["saml"]}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance" '
            'xmlns:b="urn:b" i:type="b:Only"/>',
        ),
        "not as the schema of SAML says",
    ),
    "no conditions": (lambda: drop(f"{A}/saml:Conditions"), "not just one Conditions"),
    "another recipient": (lambda: put(DATA, "Recipient", ELSEWHERE), "Set our ACS URL"),
    "no recipient": (lambda: put(DATA, "Recipient", None), "Set our ACS URL"),
    "another destination": (lambda: put("", "Destination", ELSEWHERE), "Set our ACS URL"),
    "no destination": (lambda: put("", "Destination", None), "Set our ACS URL"),
    "another request in the assertion": (lambda: put(DATA, "InResponseTo", "_x"), "another sign-in"),
    "no request in the assertion": (lambda: put(DATA, "InResponseTo", None), "another sign-in"),
    "holder of a key": (
        lambda: put(CONFIRMATION, "Method", "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"),
        "not for whoever brings it",
    ),
    "two confirmations": (lambda: twice(CONFIRMATION), "not for whoever brings it"),
    "a confirmation that ended": (lambda: put(DATA, "NotOnOrAfter", at(-90)), "has ended"),
    "a confirmation without end": (lambda: put(DATA, "NotOnOrAfter", None), "a time that is none"),
    "conditions that ended": (lambda: put(f"{A}/saml:Conditions", "NotOnOrAfter", at(-90)), "has ended"),
    "conditions of tomorrow": (lambda: put(f"{A}/saml:Conditions", "NotBefore", at(90)), "does not count yet"),
    "a time that is none": (lambda: put(f"{A}/saml:Conditions", "NotBefore", "2026-02-31T00:00:00Z"), "schema"),
    "made long ago": (lambda: put(A, "IssueInstant", at(-700)), "last minutes"),
    "made tomorrow": (lambda: put(A, "IssueInstant", at(90)), "last minutes"),
    "signed in tomorrow": (lambda: put(STATEMENT, "AuthnInstant", at(90)), "when you signed in"),
    "a session that ended": (lambda: put(STATEMENT, "SessionNotOnOrAfter", at(-90)), "has ended"),
    "no statement of a sign-in": (lambda: drop(STATEMENT), "not just one AuthnStatement"),
    "another issuer": (lambda: text(f"{A}/saml:Issuer", "https://evil.example/saml"), "calls itself"),
    "another issuer around it": (lambda: text("saml:Issuer", "https://evil.example/saml"), "calls itself"),
    "an address as the NameID": (lambda: put(NAME, "Format", NAMEID_FORMAT_EMAILADDRESS), "to persistent"),
    "a NameID for one session": (lambda: put(NAME, "Format", NAMEID_FORMAT_TRANSIENT), "to persistent"),
    "a NameID of no format": (lambda: put(NAME, "Format", None), "to persistent"),
    "a NameID for another application": (lambda: put(NAME, "SPNameQualifier", ELSEWHERE), "another application"),
    "a NameID of another directory": (
        lambda: put(NAME, "NameQualifier", "https://evil.example/saml"),
        "another directory",
    ),
    "an empty NameID": (lambda: text(NAME, ""), "names nobody"),
    "a NameID with a space around": (lambda: text(NAME, "alice "), "names nobody"),
    "no address": (lambda: drop(f"{A}/saml:AttributeStatement"), "no mail address"),
    "two addresses": (
        lambda: add(EMAILS, f'<a:AttributeValue xmlns:a="{NAMES["saml"]}">x@acme.example</a:AttributeValue>'),
        "more than one",
    ),
    "version 1.1": (lambda: put(A, "Version", "1.1"), "none of SAML 2.0"),
    "not let in": (
        lambda: put("samlp:Status/samlp:StatusCode", "Value", "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"),
        "it says “AuthnFailed”",
    ),
}


def attempt(world: World, change: Callable[[str], str], subject: str = "alice", **options: Any) -> tuple[Client, Any]:
    """Begin as a person of Acme, and bring a changed answer back."""
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    xml = change(world.acme.answer(request, subject, **options))
    return browser, delivered(browser, posted(request.assertion_consumer_service_url, xml))


def is_refused(world: World, before: tuple[object, ...], browser: Client, answer: Any, words: str = "") -> None:
    assert answer.status_code == 409, (answer.status_code, answer.content.decode())
    shown = answer.content.decode()
    assert words in shown, shown
    assert world.saved() == before
    assert not SignOnAssertion.objects.exists()
    assert browser.get("/sign-on/finish/").status_code == 404
    assert not world.reaches(browser)


def test_the_answer_that_the_tables_change_lets_in(world: World) -> None:
    browser, answer = attempt(world, lambda xml: signed(world.acme.pair, xml), sign_assertion=False)
    assert answer.status_code == 302, answer.content.decode()
    assert browser.get(answer["Location"])["Location"] == world.page
    assert world.reaches(browser)


@pytest.mark.parametrize("what", SAID)
def test_what_the_directory_says_is_checked(world: World, what: str) -> None:
    made, words = SAID[what]
    before = world.saved()
    browser, answer = attempt(world, lambda xml: signed(world.acme.pair, xml, made()), sign_assertion=False)
    is_refused(world, before, browser, answer, words)


# --- the signature ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sign_assertion": False}, "is not signed."),
        ({"sign_assertion": False, "sign_response": True}, "only the response around it"),
        ({"sign_alg": SIG_RSA_SHA1}, "Choose SHA-256"),
        ({"digest_alg": DIGEST_SHA1}, "Choose SHA-256"),
        ({"minutes": -5}, "has ended"),
    ],
    ids=str,
)
def test_what_is_not_signed_as_it_has_to_be_is_refused(world: World, options: dict[str, Any], words: str) -> None:
    before = world.saved()
    browser, answer = attempt(world, dir.as_it_is, **options)
    is_refused(world, before, browser, answer, words)


def test_another_key_is_refused_whoever_it_says_it_is(world: World) -> None:
    before = world.saved()
    browser, answer = attempt(world, dir.as_it_is, pair=world.evil.pair)
    is_refused(world, before, browser, answer, "none of the certificates that we know")


def test_a_certificate_that_ended_counts_for_nothing(world: World, tmp_path: Any) -> None:
    ended = Pair.made(tmp_path, "ended", days=-1)
    connection = services.connection_of(world.tenant)
    for kept, words in (([ended.body], "has ended"), ([ended.body, world.evil.pair.body], "none of the certificates")):
        SignOnConnection.objects.filter(pk=connection.pk).update(provider={**connection.provider, "certificates": kept})
        before = world.saved()
        browser, answer = attempt(world, dir.as_it_is, pair=ended)
        is_refused(world, before, browser, answer, words)


def test_an_encrypted_assertion_is_refused_with_what_to_do(world: World) -> None:
    before = world.saved()
    browser, answer = attempt(
        world, dir.as_it_is, encrypt_assertion=True, encrypt_cert_assertion=world.acme.pair.certificate.read_text()
    )
    is_refused(world, before, browser, answer, "Turn encryption")


# --- what somebody on the way changes, under a signature that holds ------------------------------------------------


def _evil(root: Xml) -> tuple[Xml, Xml]:
    """Return the signed assertion about Eve, and one about Alice beside it that nobody signed."""
    good = found(root, A)
    evil = copy.deepcopy(good)
    evil.set("ID", "evil")
    evil.find(f"{SAML}Subject/{SAML}NameID").text = "alice"
    evil.remove(evil.find(f"{DS}Signature"))
    return good, evil


def _first(root: Xml) -> None:
    good, evil = _evil(root)
    good.addprevious(evil)


def _last(root: Xml) -> None:
    good, evil = _evil(root)
    good.addnext(evil)


def _around(root: Xml) -> None:
    good, evil = _evil(root)
    root.replace(good, evil)
    evil.append(good)


def _with_its_signature(root: Xml) -> None:
    good, evil = _evil(root)
    evil.insert(1, good.find(f"{DS}Signature"))
    root.replace(good, evil)
    root.append(good)


def _in_the_signature(root: Xml) -> None:
    good, evil = _evil(root)
    signature = good.find(f"{DS}Signature")
    root.replace(good, evil)
    evil.insert(1, signature)
    signature.append(good)


def _in_an_object(root: Xml) -> None:
    good, evil = _evil(root)
    signature = good.find(f"{DS}Signature")
    root.replace(good, evil)
    evil.insert(1, signature)
    etree.SubElement(signature, f"{DS}Object").append(good)


def _in_extensions(root: Xml) -> None:
    good, evil = _evil(root)
    extensions = etree.Element(f"{SAMLP}Extensions")
    root.insert(1, extensions)
    evil.insert(1, copy.deepcopy(good.find(f"{DS}Signature")))
    root.replace(good, evil)
    extensions.append(good)


def _of_one_id(root: Xml) -> None:
    good, evil = _evil(root)
    evil.set("ID", good.get("ID"))
    evil.insert(1, copy.deepcopy(good.find(f"{DS}Signature")))
    root.replace(good, evil)
    extensions = etree.Element(f"{SAMLP}Extensions")
    root.insert(1, extensions)
    extensions.append(good)


def _of_the_id_of_the_response(root: Xml) -> None:
    root.set("ID", found(root, A).get("ID"))


def _a_response_inside(root: Xml) -> None:
    inner = copy.deepcopy(root)
    good, evil = _evil(root)
    root.replace(good, evil)
    extensions = etree.Element(f"{SAMLP}Extensions")
    root.insert(1, extensions)
    extensions.append(inner)


def _another_name(root: Xml) -> None:
    found(root, NAME).text = "alice"


def _without_signature(root: Xml) -> None:
    drop(f"{A}/ds:Signature")(root)
    _another_name(root)


SIGNATURE = f"{A}/ds:Signature"
REFERENCE = f"{SIGNATURE}/ds:SignedInfo/ds:Reference"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
WRAPPED = {
    "an assertion before it": _first,
    "an assertion behind it": _last,
    "an assertion around it": _around,
    "its signature on another one": _with_its_signature,
    "in the signature of another one": _in_the_signature,
    "in an object of the signature": _in_an_object,
    "in the extensions": _in_extensions,
    "two of one id": _of_one_id,
    "of the response's own id": _of_the_id_of_the_response,
    "in a response inside": _a_response_inside,
    "another name": _another_name,
    "without signature": _without_signature,
    "a transform by XSLT": put(f"{REFERENCE}/ds:Transforms/ds:Transform", "Algorithm", XSLT),
    "a transform by XPath": put(f"{REFERENCE}/ds:Transforms/ds:Transform", "Algorithm", XPATH),
    "a reference to all": put(REFERENCE, "URI", ""),
    "a reference elsewhere": put(REFERENCE, "URI", "#other"),
    "a reference out of here": put(REFERENCE, "URI", "http://169.254.169.254/"),
    "a second reference": twice(REFERENCE),
    "a second signature": twice(SIGNATURE),
    "a signature by a shared key": put(
        f"{SIGNATURE}/ds:SignedInfo/ds:SignatureMethod",
        "Algorithm",
        "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
    ),
    "comments kept": put(
        f"{SIGNATURE}/ds:SignedInfo/ds:CanonicalizationMethod",
        "Algorithm",
        "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
    ),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_signature_covers_what_is_read_and_nothing_else_is(world: World, how: str) -> None:
    def change(xml: str) -> str:
        root = etree.fromstring(xml.encode())
        WRAPPED[how](root)
        return etree.tostring(root).decode()

    before = world.saved()
    browser, answer = attempt(world, lambda xml: change(signed(world.acme.pair, xml)), "eve", sign_assertion=False)
    is_refused(world, before, browser, answer)


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: xml.replace(">alice.evil<", ">alice<!---->.evil<"),
        lambda xml: xml.replace(">alice.evil<", ">alice<?x y?>.evil<"),
        lambda xml: xml.replace(">alice.evil<", "><![CDATA[alice.evil]]><"),
        lambda xml: f"<!DOCTYPE r [<!ENTITY e 'alice'>]>{xml}".replace(">alice.evil<", ">&e;<"),
        lambda xml: f"<!DOCTYPE r SYSTEM 'http://169.254.169.254/'>{xml}",
        lambda xml: f"<?xml-stylesheet href='http://169.254.169.254/' type='text/xsl'?>{xml}",
        lambda xml: "<a>" * 40_000,
        lambda xml: "<a>" * 5_000 + "</a>" * 5_000,
        lambda xml: f"{xml}<!--{'x' * 150_000}-->",
        lambda xml: f"<r>{'<a/>' * 5_000}</r>",
        lambda xml: "",
        lambda xml: "\x00",
        lambda xml: "{}",
    ],
    ids=range(13),
)  # fmt: skip
def test_xml_that_two_readers_may_read_as_two_things_is_not_read(world: World, change: Callable[[str], str]) -> None:
    world.acme.person("alice.evil", email=["eve@acme.example"])
    before = world.saved()
    browser, answer = attempt(
        world, lambda xml: change(signed(world.acme.pair, xml)), "alice.evil", sign_assertion=False
    )
    is_refused(world, before, browser, answer)


@pytest.mark.parametrize("field", ["%%%", "é", "a" * 201_000, base64.b64encode(b"\xff\xfe<").decode(), ""])
def test_a_post_that_is_no_answer_is_refused(world: World, field: str) -> None:
    answer = Client().post(f"/sign-on/{world.tenant.pk}/saml/", {"SAMLResponse": field})
    assert answer.status_code == 409


# --- whose answer, in whose browser --------------------------------------------------------------------------------


def test_an_answer_that_nobody_asked_for_is_refused(world: World) -> None:
    """What a directory begins by itself: no `InResponseTo`, in both places."""
    before = world.saved()
    browser, answer = attempt(
        world,
        lambda xml: signed(world.acme.pair, xml, put("", "InResponseTo", None), put(DATA, "InResponseTo", None)),
        sign_assertion=False,
    )
    is_refused(world, before, browser, answer, "Begin on our page")


@pytest.mark.parametrize("request_id", ["_x", "", f"_{'A' * 43}", "_\x00", "' or 1=1"])
def test_an_answer_to_a_request_that_never_was_is_refused(world: World, request_id: str) -> None:
    before = world.saved()
    xml = f'<p:Response xmlns:p="{NAMES["samlp"]}" Version="2.0" InResponseTo="{request_id}"/>'
    answer = posted(f"/sign-on/{world.tenant.pk}/saml/", xml)
    assert answer.status_code in {404, 409}
    assert world.saved() == before


def test_an_answer_counts_once(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    xml, address = world.acme.answer(request, "alice"), request.assertion_consumer_service_url
    first = posted(address, xml)
    assert first.status_code == 302
    assert posted(address, xml).status_code == 404, "the sign-in is answered"
    SignOnAttempt.objects.update(answered_at=None)  # by hand, past the service
    again = posted(address, xml)
    assert again.status_code == 409
    assert "used before" in again.content.decode()
    assert delivered(browser, first).status_code == 302
    assert delivered(browser, first).status_code == 404, "what was brought is taken once"


def test_the_same_answer_is_no_answer_to_another_sign_in(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    xml = world.acme.answer(request, "alice")
    other = Client()
    second = asked(other, world.acme, begin(other, "alice@acme.example"))
    before = world.saved()
    moved = xml.replace(f'InResponseTo="{request.id}"', f'InResponseTo="{second.id}"', 1)  # that of the response
    answer = delivered(other, posted(request.assertion_consumer_service_url, moved))
    is_refused(world, before, other, answer, "another sign-in")


def test_mallory_does_not_go_on_as_whom_she_led_to_the_directory(world: World) -> None:
    """She begins, has Alice's browser answer her request, and waits."""
    hers, alices = Client(), Client()
    request = asked(hers, world.acme, begin(hers, "alice@acme.example"))
    before = world.saved()
    brought = posted(request.assertion_consumer_service_url, world.acme.answer(request, "alice"))
    assert delivered(alices, brought).status_code == 404, "Alice's browser began nothing"
    begin(alices, "alice@acme.example")
    assert delivered(alices, brought).status_code == 404, "… or something else"
    for address in ("/sign-on/finish/", "/sign-on/answer/", "/sign-on/link/"):
        assert hers.get(address).status_code == 404, address
    hers.cookies["sign-on-answer"] = "made up"
    assert hers.get("/sign-on/answer/").status_code == 404
    assert world.saved() == before
    assert not world.reaches(hers)
    assert not world.reaches(alices)


def test_nobody_is_signed_in_as_mallory_unawares(world: World) -> None:
    """Her own answer in Alice's browser, which began a sign-in of its own."""
    hers, alices = Client(), Client()
    world.acme.person("mallory", email=["m@acme.example"])
    request = asked(hers, world.acme, begin(hers, "m@acme.example"))
    begin(alices, "alice@acme.example")
    brought = posted(request.assertion_consumer_service_url, world.acme.answer(request, "mallory"))
    assert delivered(alices, brought).status_code == 404
    assert "_auth_user_id" not in alices.session


def test_the_address_of_another_tenant_takes_no_answer_of_this_one(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    before = world.saved()
    answer = posted(f"/sign-on/{world.mallory.tenant_id}/saml/", world.acme.answer(request, "alice"))
    assert answer.status_code == 404
    assert world.saved() == before


def test_the_directory_of_another_tenant_answers_nothing_of_this_one(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    world.evil.person("alice", email=["alice@acme.example"])
    before = world.saved()
    for options, words in (({}, "calls itself"), ({"issuer": world.acme.issuer}, "none of the certificates")):
        xml = world.evil.answer(request, "alice", **options)
        answer = delivered(browser, posted(request.assertion_consumer_service_url, xml))
        is_refused(world, before, browser, answer, words)


def test_a_sign_in_that_is_over_takes_no_answer(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    xml, address = world.acme.answer(request, "alice"), request.assertion_consumer_service_url
    SignOnAttempt.objects.update(expires_at=clock.now())
    assert posted(address, xml).status_code == 404
    SignOnAttempt.objects.update(expires_at=clock.now() + ATTEMPT_LASTS)
    services.remove_connection(services.connection_of(world.tenant), reason="r", actor=acting(world.alice))
    assert posted(address, xml).status_code == 404


def test_the_way_back_of_the_other_protocol_takes_no_answer(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    state = request.id.removeprefix("_")
    assert browser.get(f"/sign-on/{world.tenant.pk}/callback/?state={state}&code=c").status_code == 404


def test_the_post_needs_no_token_of_ours_and_touches_no_session(world: World) -> None:
    browser = Client()
    request = asked(browser, world.acme, begin(browser, "alice@acme.example"))
    answer = posted(request.assertion_consumer_service_url, world.acme.answer(request, "alice"))
    assert answer.status_code == 302
    assert set(answer.cookies) == {"sign-on-answer"}
    assert answer.cookies["sign-on-answer"]["httponly"]
    assert answer["Location"] == "/sign-on/answer/", "no secret stands in an address"


# --- accounts and addresses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "email",
    ["alice@evil.example", "alice@sub.acme.example", "alice@acme.example@evil.example", "alice@acmе.example", "alice"],
)
def test_a_directory_asserts_no_address_outside_its_own_domains(world: World, email: str) -> None:
    world.acme.person("alice", email=[email])
    before = world.saved()
    browser, answer = attempt(world, dir.as_it_is)
    assert answer.status_code == 409
    assert world.saved() == before
    assert not world.reaches(browser)


def test_one_of_kores_people_is_neither_made_nor_linked(world: World, sam: User) -> None:
    User.objects.filter(pk=sam.pk).update(email="sam@acme.example")
    world.acme.person("sam", email=["sam@acme.example"])
    before = set(Member.objects.values_list("pk"))
    browser = Client()
    answer = enter(browser, world.acme, "sam", email="alice@acme.example")
    assert answer.status_code == 409
    assert "belongs to Kore.ai" in answer.content.decode()
    assert set(Member.objects.values_list("pk")) == before


def test_an_account_is_not_entered_because_the_address_is_the_same(world: World) -> None:
    world.acme.person("bobby", email=["bob@acme.example"])
    browser = Client()
    answer = enter(browser, world.acme, "bobby")
    assert answer["Location"] == "/sign-on/link/"
    assert browser.post("/sign-on/link/").status_code == 404
    assert not world.reaches(browser)
    assert not SignOnIdentity.objects.filter(subject="bobby").exists()


def test_an_identity_counts_for_the_issuer_that_it_was_made_at(world: World) -> None:
    connection = services.connection_of(world.tenant)
    issuer, provider = saml_metadata.read(world.evil.metadata())
    # by hand, past the service, which refuses it
    SignOnConnection.objects.filter(pk=connection.pk).update(issuer=issuer + "2", provider=provider)
    world.evil.person("alice", email=["alice@acme.example"])
    browser = Client()
    page = browser.post("/sign-on/", {"email": "alice@acme.example"})
    assert page.status_code == 302
    go = browser.get("/sign-on/go/")["Refresh"].removeprefix("0;url=")
    request = world.evil.read(go, dir.our_metadata(world.tenant.pk))
    xml = world.evil.answer(request, "alice", issuer=issuer + "2")
    answer = delivered(browser, posted(request.assertion_consumer_service_url, xml))
    assert browser.get(answer["Location"])["Location"] == "/sign-on/link/", "this issuer does not know the account"
    assert not world.reaches(browser)
