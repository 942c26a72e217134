"""SAML 2.0 metadata: a directory's, read by hostile eyes, and ours, which tells a directory where to send people."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from lxml import etree

from byokportal import clock, outbound
from byokportal.errors import InvalidInput
from byokportal.translation import translate as _
from tenants import saml_xml
from tenants.errors import DirectoryUnfit
from tenants.saml_xml import NAMES, children, tag, text_of

PROTOCOL = NAMES["samlp"]
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
CERTIFICATES = 10  # of one directory
RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class Certificate:
    """One by which a directory signs."""

    subject: str
    fingerprint: str  # SHA-256, hex in pairs
    ends_at: datetime

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended, and counts for nothing."""
        return self.ends_at <= clock.now()


def read(text: str) -> tuple[str, dict[str, Any]]:
    """Return the entity id of a directory, and what a connection keeps of its metadata.

    Args:
        text: XML with one `EntityDescriptor`.

    Returns:
        The second part: `sso_url`, and `certificates` as base64 of DER.

    Raises:
        DirectoryUnfit: with what is missing, and the next step.
        AddressRefused: people cannot be sent to its address.
    """
    try:
        root = saml_xml.parsed(text, may_have_comments=True)
    except saml_xml.XmlRefused as error:
        raise DirectoryUnfit(
            why=_("The metadata {error}. Paste the file as your directory exports it.").format(error=error)
        ) from None
    entity = _entity(root)
    roles = [one for one in children(entity, "md:IDPSSODescriptor") if _speaks_saml_2(one)]
    if len(roles) != 1:
        raise DirectoryUnfit(
            why=_("The metadata describes no identity provider of SAML 2.0. Export that of your directory, not ours.")
        )
    name = entity.get("entityID", "")
    if not 1 <= len(name) <= 500 or not name.isprintable() or name != name.strip():
        raise DirectoryUnfit(why=_("The metadata names no entity ID."))
    return name, {"sso_url": _sso_url(roles[0]), "certificates": _certificates(roles[0])}


def fetched(address: str, *, whose: str) -> tuple[str, dict[str, Any]]:
    """Return the same of metadata that a directory publishes at an address.

    Raises:
        AddressRefused, AddressUnreachable, DirectoryUnfit
    """
    answer = outbound.request(address, whose=whose)
    if answer.status != 200:
        raise DirectoryUnfit(
            why=_("The address of the metadata answered with the status {status}, not with it.").format(
                status=answer.status
            )
        )
    try:
        text = answer.body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DirectoryUnfit(why=_("The metadata at that address is not UTF-8.")) from None
    name, provider = read(text)
    return name, provider | {"metadata_url": address}


def given(*, metadata_url: str, metadata: str, whose: str) -> tuple[str, dict[str, Any]]:
    """Return the same of what an owner gave: metadata that was pasted, or else the address of it.

    Raises:
        InvalidInput: neither was given.
        AddressRefused, AddressUnreachable, DirectoryUnfit
    """
    if metadata:
        return read(metadata)
    if not metadata_url:
        raise InvalidInput(errors={"metadata_url": [_("Give the address of the metadata, or the metadata itself.")]})
    return fetched(metadata_url, whose=whose)


def certificates_of(provider: Mapping[str, Any]) -> list[Certificate]:
    """Return the certificates of a connection, those that end first first."""
    return sorted((_facts(one) for one in provider.get("certificates", [])), key=lambda one: one.ends_at)


def usable(certificates: Iterable[str]) -> list[str]:
    """Return those that have not ended, by which an assertion may be signed."""
    return [one for one in certificates if not _facts(one).is_over]


def ours(*, entity_id: str, acs: str) -> bytes:
    """Return our own metadata: to whom a directory speaks, and where it sends people."""
    entity = etree.Element(tag("md:EntityDescriptor"), {"entityID": entity_id}, nsmap={"md": NAMES["md"]})
    facts = {
        "protocolSupportEnumeration": PROTOCOL,
        "AuthnRequestsSigned": "false",
        "WantAssertionsSigned": "true",
    }
    role = etree.SubElement(entity, tag("md:SPSSODescriptor"), facts)
    etree.SubElement(role, tag("md:NameIDFormat")).text = PERSISTENT
    where = {"Binding": POST, "Location": acs, "index": "0", "isDefault": "true"}
    etree.SubElement(role, tag("md:AssertionConsumerService"), where)
    return bytes(etree.tostring(entity, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _entity(root: Any) -> Any:
    if root.tag == tag("md:EntityDescriptor"):
        return root
    inside = children(root, "md:EntityDescriptor") if root.tag == tag("md:EntitiesDescriptor") else []
    if len(inside) != 1:
        raise DirectoryUnfit(why=_("The metadata is not that of one directory. Export that of yours alone."))
    return inside[0]


def _speaks_saml_2(role: Any) -> bool:
    return PROTOCOL in role.get("protocolSupportEnumeration", "").split()


def _sso_url(role: Any) -> str:
    found = [one for one in children(role, "md:SingleSignOnService") if one.get("Binding") == REDIRECT]
    if not found:
        raise DirectoryUnfit(
            why=_("The metadata names no address for sign-in by HTTP-Redirect. Turn that binding on in your directory.")
        )
    address = found[0].get("Location", "")
    outbound.target_of(address)
    return str(address)


def _certificates(role: Any) -> list[str]:
    found: list[str] = []
    for descriptor in children(role, "md:KeyDescriptor"):
        if descriptor.get("use", "signing") != "signing":
            continue
        for one in descriptor.iter(tag("ds:X509Certificate")):
            kept = _kept(text_of(one))
            if kept not in found:
                found.append(kept)
    if not found:
        raise DirectoryUnfit(why=_("The metadata holds no certificate for signing."))
    if len(found) > CERTIFICATES:
        raise DirectoryUnfit(
            why=_("The metadata holds more than {certificates} certificates. Remove the old ones.").format(
                certificates=CERTIFICATES
            )
        )
    if not usable(found):
        raise DirectoryUnfit(why=_("Every certificate of the metadata has ended. Make a new one in your directory."))
    return found


def _kept(text: str) -> str:
    """Return a certificate as a connection keeps it."""
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        certificate.subject.rfc4514_string(), certificate.not_valid_after_utc
    except (binascii.Error, ValueError, UnsupportedAlgorithm):
        raise DirectoryUnfit(why=_("A certificate of the metadata cannot be read. Export the metadata anew.")) from None
    if not (isinstance(key, RSAPublicKey) and key.key_size >= RSA_BITS) and not isinstance(key, EllipticCurvePublicKey):
        raise DirectoryUnfit(
            why=_(
                "A certificate of the metadata has a key that is too weak: RSA of {rsa_bits} bits at least, or EC."
            ).format(rsa_bits=RSA_BITS)
        )
    return base64.b64encode(der).decode()


def _facts(kept: str) -> Certificate:
    certificate = x509.load_der_x509_certificate(base64.b64decode(kept))
    fingerprint = certificate.fingerprint(SHA256()).hex(":").upper()
    subject = certificate.subject.rfc4514_string() or _("without a name")
    return Certificate(subject[:200], fingerprint, certificate.not_valid_after_utc)
