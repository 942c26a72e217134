"""Each file, command and target that a document for developers or operators names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted(
    str(file.relative_to(ROOT))
    for file in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/adr").glob("*.md"))
    if file.name != "CHANGELOG.md"  # it names what was there then
)
FILE = re.compile(r"`((?:byokportal|tenants|keys|support|templates|static|tests|deploy|docs)/[\w./-]+)`")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
TARGET = re.compile(r"`make ([a-z-]+)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_names_is_there(name: str) -> None:
    document = ROOT / name
    text = document.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing = [
        *(file for file in FILE.findall(text) if not (ROOT / file).exists()),
        *(link for link in LINK.findall(text) if not (document.parent / link).exists()),
        *(f"manage.py {command}" for command in COMMAND.findall(text) if command not in get_commands()),
        *(f"make {target}" for target in TARGET.findall(text) if target not in targets),
    ]
    assert not missing, f"{name} names what is not there"


def headings_of(path: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a document."""
    found = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", each.lower()).replace(" ", "-") for each in found}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_link_to_a_heading_finds_it(name: str) -> None:
    document = ROOT / name
    links = re.findall(r"\]\(([^)\s:#]*\.md|)#([^)\s]+)\)", document.read_text())
    missing = [
        f"{file}#{anchor}"
        for file, anchor in links
        if anchor not in headings_of(document.parent / file if file else document)
    ]
    assert not missing, f"{name} links headings that are not there"


def test_the_decisions_are_numbered_without_a_gap_and_say_their_number() -> None:
    files = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [file.name[:4] for file in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    for file in files:
        assert file.read_text().startswith(f"# {file.name[:4]} "), file.name
