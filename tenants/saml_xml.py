"""XML that a directory sent: bounded, elements and text alone, read the same by everybody; pure.

A DTD brings entities and defaults, a comment or a processing instruction splits a text that a signature covers as one,
CDATA is a second way to write it. None of them has a place in what SAML sends, so none is taken.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from byokportal.translation import translate as _

LARGEST = 200_000  # characters
DEPTH, ELEMENTS = 32, 4_000
NAMES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "md": "urn:oasis:names:tc:SAML:2.0:metadata",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
DECLARATION = re.compile(
    r"\s{0,9}<\?xml(?: (?:version|encoding|standalone)=(?:\"[\w.-]{1,20}\"|'[\w.-]{1,20}')){1,3} ?\?>"
)
COMMENT = re.compile(r"<!--(?:[^-]|-(?!-))*+-->")
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)


class XmlRefused(Exception):
    """It is no such XML; the text says why, as the end of a sentence."""


def parsed(text: str, *, may_have_comments: bool = False) -> Any:
    """Return the root element of a document.

    Args:
        may_have_comments: they are cut out first; metadata that people keep by hand has some.

    Raises:
        XmlRefused: it is too large, too deep, no XML, or holds more than elements and text.
    """
    if len(text) > LARGEST:
        raise XmlRefused(_("is longer than {largest} characters").format(largest=LARGEST))
    text = DECLARATION.sub("", text.removeprefix("\ufeff"), count=1).strip()
    if may_have_comments:
        text = COMMENT.sub("", text)
    if "<!" in text or "<?" in text:
        raise XmlRefused(_("holds a DTD, an entity, a comment, CDATA or a processing instruction"))
    try:
        root = etree.fromstring(text.encode(), _parser())
    except (etree.XMLSyntaxError, ValueError):  # ValueError: half a surrogate pair
        raise XmlRefused(_("is no XML")) from None
    _bounded(root)
    return root


def _parser() -> Any:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)


def _bounded(root: Any) -> None:
    level, deep, count = [root], 0, 0
    while level:
        count, deep = count + len(level), deep + 1
        if count > ELEMENTS or deep > DEPTH:
            raise XmlRefused(
                _("has more than {elements} elements, or more than {depth} inside each other").format(
                    elements=ELEMENTS, depth=DEPTH
                )
            )
        level = [child for one in level for child in one]


def tag(name: str) -> str:
    """Return the name of an element as lxml has it, of `saml:Issuer` for one."""
    prefix, _, local = name.partition(":")
    return f"{{{NAMES[prefix]}}}{local}"


def children(element: Any, name: str) -> list[Any]:
    """Return the children of an element that have a name such as `saml:Issuer`."""
    return [child for child in element if child.tag == tag(name)]


def text_of(element: Any) -> str:
    """Return what stands in an element that holds text alone; empty if it holds more."""
    return "" if len(element) else str(element.text or "")


def instant(text: str | None) -> datetime | None:
    """Return an xs:dateTime, which SAML says is UTC (SAML Core 2.0, section 1.3.3); None if it is none."""
    if text is None or not DATE_TIME.fullmatch(text):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        return None
