"""The error vocabulary and the life cycle: complete, unique, written down."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

import tenants.errors  # noqa: F401
from byokportal.errors import DomainError
from byokportal.problems import STATUS
from keys import lifecycle
from keys.models import KeyRegistration

DOCS = Path(__file__).parents[2] / "docs"


def all_errors() -> list[type[DomainError]]:
    found: list[type[DomainError]] = []
    todo: list[type[DomainError]] = [DomainError]
    while todo:
        error = todo.pop()
        todo += error.__subclasses__()
        if "code" in error.__dict__:
            found.append(error)
    return sorted(found, key=lambda error: error.code)


ERRORS = all_errors()


def test_codes_are_unique() -> None:
    codes = [error.code for error in ERRORS]
    assert sorted(set(codes)) == codes


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_is_a_title_and_a_sentence_with_a_section_in_the_docs(error: type[DomainError]) -> None:
    assert error.kind in STATUS
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.title[0].isupper() and error.title[-1] not in ".!"
    assert error.detail.endswith((".", "{why}")) and "successfully" not in error.detail.lower()
    assert f"\n## {error.code}\n" in (DOCS / "problems.md").read_text()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_the_section_of_an_error_says_what_the_api_says(error: type[DomainError]) -> None:
    text = (DOCS / "problems.md").read_text()
    section = re.search(rf"^## {error.code}\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    facts, sentence, advice, *_ = section[1].strip().split("\n\n")
    turn = {"tenant": "the tenant", "kore": "Kore.ai", "caller": "the caller", "nobody": "nobody"}[error.turn.value]
    retryable = "retryable" if error.retryable else "not retryable"
    assert facts == f"{STATUS[error.kind]} · {error.title} · turn of {turn} · {retryable}"
    assert sentence.replace("`", "") == error.detail
    assert advice


def test_the_docs_name_no_code_that_there_is_not() -> None:
    named = re.findall(r"^## ([a-z_]+)$", (DOCS / "problems.md").read_text(), re.MULTILINE)
    assert sorted(named) == [error.code for error in ERRORS]


def test_every_status_has_its_moves_and_every_move_leads_to_a_status() -> None:
    assert set(lifecycle.MOVES) == set(KeyRegistration.Status.values)
    assert {to for moves in lifecycle.MOVES.values() for to in moves} <= set(KeyRegistration.Status.values)
    assert lifecycle.MOVES[KeyRegistration.Status.RETIRED] == frozenset()


def test_the_picture_in_architecture_has_every_move_and_no_other() -> None:
    section = (DOCS / "ARCHITECTURE.md").read_text().partition("## The life of a registration")[2]
    drawn: dict[str, set[str]] = {status: set() for status in KeyRegistration.Status.values}
    for line in section.split("```")[1].strip().splitlines():
        # two blanks begin a remark
        groups = re.split(r" ([→⇄]) ", line.split("  ")[0])
        for here, arrow, there in zip(groups[::2], groups[1::2], groups[2::2], strict=False):
            for old, new in itertools.product(here.split(" | "), there.split(" | ")):
                drawn[old].add(new)
                if arrow == "⇄":
                    drawn[new].add(old)
    assert drawn == {str(status): set(map(str, moves)) for status, moves in lifecycle.MOVES.items()}
