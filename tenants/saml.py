"""SAML 2.0 with a tenant's directory: the request that a browser takes over, and what comes back, checked.

Web browser SSO profile (SAML Profiles 2.0, section 4.1): request by HTTP-Redirect, response by HTTP-POST. python3-saml
judges which elements are signed, and xmlsec their signatures; everything that is read is read from the one assertion
that was signed itself. Times are compared on the clock that all our processes share. Nothing here knows the database.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn
from urllib.parse import urlencode

from lxml import etree
from onelogin.saml2.errors import OneLogin_Saml2_Error, OneLogin_Saml2_ValidationError
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.xml_utils import OneLogin_Saml2_XML

from byokportal import clock
from byokportal.translation import lazy
from byokportal.translation import translate as _
from tenants import saml_metadata, saml_xml
from tenants.asserted import Asserted
from tenants.errors import SignOnRefused
from tenants.saml_metadata import PERSISTENT, POST
from tenants.saml_xml import NAMES, children, instant, tag, text_of

LEEWAY = timedelta(seconds=60)  # that the directory's clock may be off
LASTS = timedelta(minutes=10)  # from when an assertion was made until it is taken
LARGEST = saml_xml.LARGEST  # characters of the posted field
REQUEST = re.compile(r"_[A-Za-z0-9_-]{43}", re.ASCII)
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
ENTITY = "urn:oasis:names:tc:SAML:2.0:nameid-format:entity"
ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
MORE = "http://www.w3.org/2001/04/xmldsig-more#"
# SHA-2 alone, and never a key that both sides would have to know (HMAC).
SIGNATURES = {f"{MORE}{kind}-sha{bits}" for kind in ("rsa", "ecdsa") for bits in (256, 384, 512)}
DIGESTS = {"http://www.w3.org/2001/04/xmlenc#sha256", f"{MORE}sha384", "http://www.w3.org/2001/04/xmlenc#sha512"}
# The names under which directories send a mail address.
EMAIL = (
    "email",
    "mail",
    "emailAddress",
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
)
VALUES = 500  # of all attributes together
NOT_RIGHT = lazy("What your organisation's sign-on answered is not right: %(what)s. %(step)s")
TELL = lazy("Tell an owner of your organisation.")


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory as a connection knows it, and what we are to it."""

    issuer: str
    provider: Mapping[str, Any]
    role_claim: str
    factor_values: frozenset[str]
    entity_id: str
    acs: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What was posted to us; nothing of it counts yet.

    Attributes:
        request: the id of the request that it says it answers.
    """

    text: bytes
    root: Any
    request: str


def request_url(directory: Directory, *, request: str, is_again: bool) -> str:
    """Return the address that the person's browser is sent to (SAML Bindings 2.0, section 3.4.4.1).

    Args:
        request: the id of the request.
        is_again: the person has to prove anew who they are (`ForceAuthn`).
    """
    address = str(directory.provider["sso_url"])
    facts = {
        "ID": request,
        "Version": "2.0",
        "IssueInstant": clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Destination": address,
        "ProtocolBinding": POST,
        "AssertionConsumerServiceURL": directory.acs,
    } | ({"ForceAuthn": "true"} if is_again else {})
    prefixes = {name: NAMES[name] for name in ("samlp", "saml")}
    root = etree.Element(tag("samlp:AuthnRequest"), facts, nsmap=prefixes)
    etree.SubElement(root, tag("saml:Issuer")).text = directory.entity_id
    policy = {"Format": PERSISTENT, "AllowCreate": "true"}
    etree.SubElement(root, tag("samlp:NameIDPolicy"), policy)
    deflated = zlib.compress(etree.tostring(root), wbits=-zlib.MAX_WBITS)
    query = urlencode({"SAMLRequest": base64.b64encode(deflated).decode()})
    return f"{address}{'&' if '?' in address else '?'}{query}"


def read(posted: str) -> Answer:
    """Return what a browser posted, once it is a response in form.

    Raises:
        SignOnRefused: it is none, or answers no request of ours: no directory begins a sign-in by itself.
    """
    try:
        if len(posted) > LARGEST:
            raise saml_xml.XmlRefused(_("is longer than {largest} characters").format(largest=LARGEST))
        text = base64.b64decode("".join(posted.split()), validate=True).decode()
        root = saml_xml.parsed(text)
    except (binascii.Error, ValueError):
        _refuse(_("it is no text in base64"), TELL)
    except saml_xml.XmlRefused as error:
        _refuse(_("it %(error)s", error=error), TELL)
    if root.tag != tag("samlp:Response") or root.get("Version") != "2.0":
        _refuse(_("it is no response of SAML 2.0"), TELL)
    request = root.get("InResponseTo")
    if request is None:
        raise SignOnRefused(
            why=_(
                "Your organisation's sign-on began this by itself, and that lets nobody in here. "
                "Begin on our page: Sign in with your organisation."
            )
        )
    return Answer(etree.tostring(root), root, request if REQUEST.fullmatch(request) else "")


def verified(answer: Answer, directory: Directory, *, request: str) -> tuple[Asserted, str]:
    """Return what the signed assertion of a response says, and its id, after every check.

    Args:
        request: the id of the one request that it has to answer.

    Raises:
        SignOnRefused: one of them failed; the sentence names what to change in the directory.
    """
    root = answer.root
    _status(root)
    assertion = _the_assertion(root)
    _unique_ids(root)
    _issuer(root, directory, may_be_missing=True)
    _issuer(assertion, directory, may_be_missing=False)
    _signed(answer, root, assertion, directory)
    if root.get("Destination") != directory.acs:
        _refuse_sent_to(root.get("Destination"), directory)
    if root.get("InResponseTo") != request:
        _refuse(_("it belongs to another sign-in"), lazy("Begin again."))
    subject = _one(assertion, "saml:Subject")
    _confirmed(subject, directory, request=request)
    _conditions(assertion, directory)
    made_at = instant(assertion.get("IssueInstant"))
    now = clock.now()
    if made_at is None or not now - LASTS - LEEWAY <= made_at <= now + LEEWAY:
        _refuse_time(_("its assertion was not made in the last minutes"))
    return _asserted(assertion, _name(subject, directory), directory), str(assertion.get("ID"))


# --- what is signed ------------------------------------------------------------------------------------------------


def _status(root: Any) -> None:
    status = _one(root, "samlp:Status")
    code = _one(status, "samlp:StatusCode")
    if code.get("Value") != SUCCESS:
        inner = children(code, "samlp:StatusCode")
        said = (inner[0] if inner else code).get("Value", "").rpartition(":")[2]
        raise SignOnRefused(
            why=_(
                "Your organisation's sign-on did not let you in; it says “%(said)s”. Try again, or ask "
                "whoever runs it.",
                said=_shown(said),
            )
        )


def _the_assertion(root: Any) -> Any:
    """Return the one assertion, which stands right below the response."""
    if next(root.iter(tag("saml:EncryptedAssertion")), None) is not None:
        _refuse(
            _("its assertion is encrypted"),
            _("Turn encryption of the assertion off in the directory; TLS protects it."),
        )
    below, anywhere = children(root, "saml:Assertion"), list(root.iter(tag("saml:Assertion")))
    if len(below) != 1 or len(anywhere) != 1:
        _refuse(_("it holds not just one assertion"), TELL)
    if below[0].get("Version") != "2.0" or not below[0].get("ID"):
        _refuse(_("its assertion is none of SAML 2.0"), TELL)
    return below[0]


def _unique_ids(root: Any) -> None:
    """A signature names what it covers by its id: two of one would leave open which."""
    seen = [
        value
        for one in root.iter()
        for name, value in one.attrib.items()
        if etree.QName(name).localname.lower() == "id"
    ]
    if len(seen) != len(set(seen)):
        _refuse(_("two of its elements have one id"), TELL)


def _signed(answer: Answer, root: Any, assertion: Any, directory: Directory) -> None:
    signatures = list(root.iter(tag("ds:Signature")))
    if not children(assertion, "ds:Signature"):
        _refuse(
            _("its assertion is not signed")
            + (_(", only the response around it") if children(root, "ds:Signature") else ""),
            _("Turn on signing of the assertion in the directory."),
        )
    for element in (root, assertion):
        own = children(element, "ds:Signature")
        if len(own) > 1:
            _refuse(_("it is signed twice"), TELL)
        for one in own:
            _form(one, str(element.get("ID")))
            signatures.remove(one)
    if signatures:
        _refuse(_("it holds a signature where none belongs"), TELL)
    certificates = saml_metadata.usable(directory.provider["certificates"])
    if not certificates:
        _refuse(
            _("every certificate by which we know it has ended"),
            _("Give us the directory's present metadata on the page Sign-on."),
        )
    if not _is_signed_by(answer, certificates, directory):
        _refuse(
            _("none of the certificates that we know signed it"),
            _("Give us the directory's present metadata on the page Sign-on."),
        )


def _form(signature: Any, covered: str) -> None:
    """Check that a signature covers just its own element, by algorithms that count and transforms that change nothing.

    XML Signature lets a transform be a program (XPath, XSLT) and a reference point anywhere; SAML Core 2.0, section
    5.4, allows neither.
    """
    if [one.tag for one in signature if one.tag not in {tag("ds:KeyInfo")}] != [
        tag("ds:SignedInfo"),
        tag("ds:SignatureValue"),
    ]:
        _refuse(_("its signature holds more than one has to"), TELL)
    info = children(signature, "ds:SignedInfo")[0]
    names = [tag("ds:CanonicalizationMethod"), tag("ds:SignatureMethod"), tag("ds:Reference")]
    if [one.tag for one in info] != names:
        _refuse(_("its signature covers not just one element"), TELL)
    canonical, method, reference = info
    transforms = [one.get("Algorithm") for part in children(reference, "ds:Transforms") for one in part]
    digests = children(reference, "ds:DigestMethod")
    if canonical.get("Algorithm") != EXCLUSIVE or not set(transforms) <= {ENVELOPED, EXCLUSIVE} or len(transforms) > 2:
        _refuse(_("its signature transforms what it covers"), TELL)
    if reference.get("URI") != f"#{covered}":
        _refuse(_("its signature covers another element"), TELL)
    if len(digests) != 1 or digests[0].get("Algorithm") not in DIGESTS or method.get("Algorithm") not in SIGNATURES:
        _refuse(
            _("its signature is of a kind that we do not take"), _("Choose SHA-256 for signatures in the directory.")
        )


def _is_signed_by(answer: Answer, certificates: Sequence[str], directory: Directory) -> bool:
    """Ask python3-saml which elements are signed, and xmlsec whether each of them is, by one of the certificates."""
    known = {
        "strict": False,  # times, audience and the rest are judged here, exactly
        "sp": {"entityId": directory.entity_id, "assertionConsumerService": {"url": directory.acs}},
        "idp": {
            "entityId": directory.issuer,
            "singleSignOnService": {"url": directory.provider["sso_url"]},
            "x509certMulti": {"signing": list(certificates)},
        },
        "security": {"rejectDeprecatedAlgorithm": True, "wantAssertionsSigned": True},
    }
    try:
        response = OneLogin_Saml2_Response(OneLogin_Saml2_Settings(known), base64.b64encode(answer.text).decode())
        checked = OneLogin_Saml2_XML.validate_xml(response.document, "saml-schema-protocol-2.0.xsd")
        if isinstance(checked, str):
            _refuse(_("it is not as the schema of SAML says"), TELL)
        if tag("saml:Assertion") not in response.process_signed_elements():
            return False
        return bool(response.is_valid({"https": "on", "http_host": "", "script_name": ""}))
    except (OneLogin_Saml2_ValidationError, OneLogin_Saml2_Error):
        return False


# --- what it says --------------------------------------------------------------------------------------------------


def _issuer(element: Any, directory: Directory, *, may_be_missing: bool) -> None:
    found = children(element, "saml:Issuer")
    if not found and may_be_missing:
        return
    said = text_of(found[0]) if len(found) == 1 else ""
    if said != directory.issuer or found[0].get("Format", ENTITY) != ENTITY:
        _refuse(
            _(
                "it calls itself “%(said)s”, and the organisation connected “%(issuer)s” (its entity ID)",
                said=_shown(said),
                issuer=directory.issuer,
            ),
            _("Whoever runs the directory sets it back, or an owner removes the connection and sets up another."),
        )


def _confirmed(subject: Any, directory: Directory, *, request: str) -> None:
    """Check for whom and for which request the assertion may be used (SAML Profiles 2.0, section 4.1.4.3)."""
    found = children(subject, "saml:SubjectConfirmation")
    if len(found) != 1 or found[0].get("Method") != BEARER:
        _refuse(_("its assertion is not for whoever brings it"), TELL)
    data = _one(found[0], "saml:SubjectConfirmationData")
    if data.get("Recipient") != directory.acs:
        _refuse_sent_to(data.get("Recipient"), directory)
    if data.get("InResponseTo") != request:
        _refuse(_("its assertion belongs to another sign-in"), lazy("Begin again."))
    _in_time(data, needs_end=True)


def _conditions(assertion: Any, directory: Directory) -> None:
    conditions = _one(assertion, "saml:Conditions")
    _in_time(conditions, needs_end=False)
    known = {tag(f"saml:{name}") for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")}
    if any(one.tag not in known for one in conditions):
        _refuse(_("its assertion has a condition that we do not know"), TELL)
    restrictions = children(conditions, "saml:AudienceRestriction")
    said = [[text_of(one) for one in children(part, "saml:Audience")] for part in restrictions]
    if not said or not all(directory.entity_id in audiences for audiences in said):
        named = next((one for audiences in said for one in audiences), "nobody")
        _refuse(
            _(
                "it speaks to “%(named)s” (the audience), and we are “%(entity_id)s”",
                named=_shown(named),
                entity_id=directory.entity_id,
            ),
            _("Set our entity ID to the letter in the directory, as the page Sign-on shows it."),
        )


def _in_time(element: Any, *, needs_end: bool) -> None:
    now, begin, end = clock.now(), element.get("NotBefore"), element.get("NotOnOrAfter")
    begins_at, ends_at = instant(begin), instant(end)
    if (
        (begin is not None and begins_at is None)
        or (end is not None and ends_at is None)
        or (needs_end and end is None)
    ):
        _refuse(_("it names a time that is none"), TELL)
    if begins_at is not None and begins_at > now + LEEWAY:
        _refuse_time(_("its assertion does not count yet"))
    if ends_at is not None and ends_at <= now - LEEWAY:
        _refuse_time(_("its assertion has ended"))


def _name(subject: Any, directory: Directory) -> str:
    """Return by what the directory knows the person, for ever and here alone."""
    name = _one(subject, "saml:NameID")
    value = text_of(name)
    if name.get("Format") != PERSISTENT:
        _refuse(
            _(
                "it names you in the format “%(format)s”, which may pass to somebody else",
                format=_shown(name.get("Format", "none")),
            ),
            _("Set the format of the NameID to persistent in the directory."),
        )
    if not 1 <= len(value) <= 255 or not value.isprintable() or value != value.strip():
        _refuse(_("it names nobody"), TELL)
    if name.get("SPNameQualifier", directory.entity_id) != directory.entity_id:
        _refuse(_("it names you for another application"), TELL)
    if name.get("NameQualifier", directory.issuer) != directory.issuer:
        _refuse(_("it names you for another directory"), TELL)
    return value


def _asserted(assertion: Any, subject: str, directory: Directory) -> Asserted:
    statement = _one(assertion, "saml:AuthnStatement")
    proved_at, until = instant(statement.get("AuthnInstant")), statement.get("SessionNotOnOrAfter")
    if proved_at is None or proved_at > clock.now() + LEEWAY:
        _refuse_time(_("it does not say when you signed in there"))
    if until is not None and ((ends_at := instant(until)) is None or ends_at <= clock.now() - LEEWAY):
        _refuse_time(_("your sign-in there has ended"))
    contexts = {text_of(one) for one in statement.iter(tag("saml:AuthnContextClassRef"))}
    attributes = _attributes(assertion)
    emails = next((attributes[name] for name in EMAIL if attributes.get(name)), [])
    if len(set(emails)) != 1:
        _refuse(
            _("it names no mail address, or more than one") if len(emails) != 0 else _("it names no mail address"),
            _("Let the directory send one attribute email."),
        )
    return Asserted(
        issuer=directory.issuer,
        subject=subject,
        email=emails[0],
        values=tuple(attributes.get(directory.role_claim, [])) if directory.role_claim else (),
        has_second_factor=bool(contexts & directory.factor_values),
        authenticated_at=proved_at,
    )


def _attributes(assertion: Any) -> dict[str, list[str]]:
    """Return the values of each attribute by its name, and by its friendly name where no attribute has that name."""
    by_name: dict[str, list[str]] = {}
    friendly: dict[str, list[str]] = {}
    count = 0
    for statement in children(assertion, "saml:AttributeStatement"):
        for one in children(statement, "saml:Attribute"):
            values = [found for value in children(one, "saml:AttributeValue") if (found := text_of(value).strip())]
            count += len(values)
            by_name.setdefault(one.get("Name", ""), []).extend(values)
            friendly.setdefault(one.get("FriendlyName", ""), []).extend(values)
    if count > VALUES:
        _refuse(
            _("it sends more than %(values)s values", values=VALUES),
            _("Let the directory send the groups of this application alone."),
        )
    return {**friendly, **by_name}


def _one(element: Any, name: str) -> Any:
    found = children(element, name)
    if len(found) != 1:
        _refuse(_("it holds not just one %(element)s", element=name.partition(":")[2]), TELL)
    return found[0]


def _shown(text: str) -> str:
    """Return what a stranger wrote, short and on one line."""
    return "".join(sign if sign.isprintable() else "�" for sign in text[:120])


def _refuse(what: str, step: str) -> NoReturn:
    raise SignOnRefused(why=_(NOT_RIGHT, what=what, step=_(step)))


def _refuse_sent_to(said: str | None, directory: Directory) -> NoReturn:
    _refuse(
        _(
            "it is meant for “%(value)s” (the ACS or reply URL), and ours is “%(acs)s”",
            value=_shown(said or "no address"),
            acs=directory.acs,
        ),
        _("Set our ACS URL to the letter in the directory, as the page Sign-on shows it."),
    )


def _refuse_time(what: str) -> NoReturn:
    _refuse(what, _("Begin again; if it stays so, the directory's clock is wrong."))
