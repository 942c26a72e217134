"""No page, mail, document or message says that an old key or role may go,
without saying until when a backup needs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = (
    "templates",
    "docs",
    "keys",
    "support",
    "tenants",
    "byokportal",
    "static",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)
KINDS = {".html", ".txt", ".md", ".py", ".yaml", ".js"}

LETS_GO = re.compile(
    (
        r"\b(delet\w+|remov(?:e|ed|ing)|disabl(?:e|ed|ing)|destroy\w*|discard\w*|give up|given up|get rid of|throw away"
        r"|decommission\w*|clean up)\b"
    ),
    re.I,
)
OLD = re.compile(
    r"\b(?:old|older|previous|former|replaced|earlier)\b(?:\s\w+){0,3}?\s(?:keys?|roles?|cmks?)\b|\bthe old one\b"
    r"|\bkeys? (?:that )?you used before\b|\brole and (?:the |your )?key\b|\bkey and (?:the |your )?role\b",
    re.I,
)
MAY = re.compile(
    r"\b(?:may|can|could|safe|safely|free to|no longer|not needed|nothing needs|any more|now|then|at once|when|once)\b",
    re.I,
)
SAYS_WHEN = re.compile(r"backup|until|before its time|horizon|compromised|loses|lost|needed until|still needed", re.I)
QUOTES = re.compile(r"\bwas wrong\b|client secret", re.I)


def invites(sentence: str) -> bool:
    """Tell whether a sentence lets somebody think that an old key or role may go, and says nothing of backups."""
    return bool(
        LETS_GO.search(sentence)
        and OLD.search(sentence)
        and MAY.search(sentence)
        and not SAYS_WHEN.search(sentence)
        and not QUOTES.search(sentence)
    )


def sentences(path: Path) -> Iterator[str]:
    text = path.read_text()
    text = re.sub(r'"\s*\n\s*f?"', "", text)  # one string over several lines
    text = re.sub(r"\{%.*?%\}|<[^>]{0,200}>", " ", text)
    for part in re.split(r"[.!?]\s|\n\s*\n|\n\s*[-|#]\s", text):
        yield " ".join(part.split())


def files() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        if path.is_file():
            yield path
        for found in sorted(path.rglob("*")) if path.is_dir() else ():
            if found.suffix in KINDS and "migrations" not in found.parts and "localaws" not in found.parts:
                yield found


@pytest.mark.parametrize(
    "sentence",
    [
        "All branch keys open with the new one. You may delete any key you used before",
        "You may delete any key that you used before",
        "When nothing stands above, you may delete the old one",
        "then your role leaves our policy and you may delete role and key",
        "Rotate, rewrap and delete the old key to close it now",
        "lets the services rewrap, and then deletes the old key in AWS",
        "The old CMK is no longer needed and can be disabled",
        "It is safe to remove the previous IAM role",
    ],
)
def test_the_search_finds_what_was_said_before(sentence: str) -> None:
    assert invites(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Keep the old key and the old role for 35 days more: a backup from before the move opens only with both",
        "You may delete the old key once no backup needs it",
    ],
)
def test_and_takes_what_names_the_backup(sentence: str) -> None:
    assert not invites(sentence)


def test_nothing_that_people_read_invites_a_loss() -> None:
    found = [f"{path.relative_to(ROOT)}: {each[:200]}" for path in files() for each in sentences(path) if invites(each)]
    assert not found, "\n".join(found)
