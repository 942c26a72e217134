"""What holds for every page at once: each lies in one section of the navigation, icons exist, and little is sent."""

from __future__ import annotations

import gzip
import re
from collections import Counter
from pathlib import Path

import django_htmx
from url_map import addresses, is_page

from byokportal.templatetags.navigation import SECTIONS

STATIC = Path("static/portal")
HTMX = Path(django_htmx.__file__).parent / "static/django_htmx/htmx-2.min.js"
KIB = 1024
# Parts that a page asks for, and files.
NO_PAGES = {
    "key-live",
    "drill-live",
    "preparing",
    "test-progress",
    "document",
    "control",
    "change-request-file",
    "sign-on-callback",
    "log-jsonl",
    "log-csv",
    "evidence-json",
    "evidence-pdf",
    "key-uses-jsonl",
    "key-uses-csv",
    "log-head-file",
    "log-verifier",
}


def test_every_page_of_an_organisation_lies_in_one_section() -> None:
    named = Counter(name for section in SECTIONS for name in (section.url, *section.pages))
    assert [name for name, times in named.items() if times > 1] == []
    of_tenant = {
        one.name.removeprefix("portal:")
        for one in addresses()
        if one.route.startswith("tenants/<uuid:tenant>/") and is_page(one) and one.name.startswith("portal:")
    }
    assert sorted(of_tenant - set(named) - NO_PAGES) == []


def test_every_icon_that_a_template_names_is_in_the_sprite() -> None:
    for part, sprite in (("portal", "icons.svg"), ("admin", "office-icons.svg")):
        there = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / sprite).read_text()))
        named = {section.icon for section in SECTIONS} if part == "portal" else set()
        for template in Path("templates").rglob("*.html"):
            named |= set(re.findall(rf'{part}/parts/icon\.html" with name="([\w-]+)"', template.read_text()))
        assert named
        assert sorted(named - there) == []


def test_style_and_script_of_a_page_are_at_most_60_kib_over_the_wire() -> None:
    files = [HTMX, *STATIC.glob("*.js"), *(one for one in STATIC.glob("*.css") if one.name != "admin.css")]
    assert sum(len(gzip.compress(file.read_bytes(), 9)) for file in files) <= 60 * KIB


def test_no_page_of_the_back_office_gives_a_colour_of_its_frame_another_value() -> None:
    """Django's pages have an `--accent` too: as white, it made the mark and the badge of the head vanish."""

    def variables(name: str) -> set[str]:
        return set(re.findall(r"(--[\w-]+)\s*:", (STATIC / name).read_text()))

    assert len(variables("frame.css")) > 20
    for name in ("admin.css", "parts.css", "test.css"):
        assert variables(name) & variables("frame.css") == set(), name
