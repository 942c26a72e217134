"""A directory's metadata, as it should not be: refused with the reason, whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies
from saml_directory import Pair, SamlDirectory

from byokportal.errors import DomainError
from tenants import saml_metadata, saml_xml


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> SamlDirectory:
    return SamlDirectory("https://login.acme.example", Pair.made(tmp_path_factory.mktemp("idp"), "acme"))


def test_it_reads_what_an_identity_provider_publishes(directory: SamlDirectory) -> None:
    issuer, provider = saml_metadata.read(
        f"<?xml version='1.0' encoding='UTF-8'?>\n<!-- ours -->{directory.metadata()}"
    )
    assert issuer == "https://login.acme.example/saml"
    assert provider == {"sso_url": "https://login.acme.example/sso", "certificates": [directory.pair.body]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda xml: "", "is no XML"),
        (lambda xml: "\x00", "is no XML"),
        (lambda xml: "\ud800", "is no XML"),
        (lambda xml: "{}", "is no XML"),
        (lambda xml: xml[:-9], "is no XML"),
        (lambda xml: "<a>" * 60_000, "no XML"),
        (lambda xml: "<a>" * 200 + "</a>" * 200, "inside each other"),
        (lambda xml: f"<a>{'<b/>' * 5_000}</a>", "elements"),
        (lambda xml: f"<!DOCTYPE a [<!ENTITY b 'c'>]>{xml}", "a DTD"),
        (lambda xml: f"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>{xml}", "a DTD"),
        (lambda xml: f"<?xml-stylesheet href='x'?>{xml}", "processing instruction"),
        (lambda xml: f"{xml}{' ' * 200_000}", "longer than"),
        (lambda xml: "<html/>", "not that of one directory"),
        (lambda xml: xml.replace("IDPSSODescriptor", "SPSSODescriptor"), "no identity provider"),
        (lambda xml: xml.replace("SAML:2.0:protocol", "SAML:1.1:protocol"), "no identity provider"),
        (lambda xml: xml.replace("HTTP-Redirect", "SOAP"), "HTTP-Redirect"),
        (lambda xml: xml.replace("https://login.acme.example/sso", "http://login.acme.example/sso"), "https://"),
        (lambda xml: xml.replace("https://login.acme.example/sso", "javascript:alert(1)"), "https://"),
        (lambda xml: xml.replace('use="signing"', 'use="encryption"'), "no certificate"),
        (lambda xml: xml.replace("MII", "MIJ"), "cannot be read"),
        (lambda xml: xml.replace('entityID="https://login.acme.example/saml"', 'entityID=""'), "no entity ID"),
    ],
    ids=range(21),
)
def test_what_is_none_is_refused_with_the_reason(
    directory: SamlDirectory, change: Callable[[str], str], words: str
) -> None:
    with pytest.raises(DomainError) as raised:
        saml_metadata.read(change(directory.metadata()))
    assert words in str(raised.value), str(raised.value)


def test_weak_and_ended_certificates_are_refused(directory: SamlDirectory, tmp_path: Path) -> None:
    for pair, words in (
        (Pair.made(tmp_path, "weak", bits=1024), "too weak"),
        (Pair.made(tmp_path, "old", days=-1), "has ended"),
    ):
        with pytest.raises(DomainError) as raised:
            saml_metadata.read(directory.metadata().replace(directory.pair.body, pair.body))
        assert words in str(raised.value)


@settings(max_examples=60, deadline=None)
@given(strategies.text(max_size=200))
def test_no_text_is_more_than_refused(text: str) -> None:
    for given_text in (text, f"<a>{text}</a>", f'<a b="{text}"/>'):
        try:
            saml_xml.parsed(given_text, may_have_comments=True)
        except saml_xml.XmlRefused:
            continue


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-02-31T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-01-01", "2026-01-01T00:00:00Z\n", None],
)
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert saml_xml.instant(text) is None
