"""Names of modules, classes, functions and fields use the terms of the field (docs/ARCHITECTURE.md, Glossary)."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
APPS = {"byokportal", "tenants", "keys", "support"}
# Old word → the word to use instead.
INSTEAD = {
    "at_once": "fast_path, or what is done",
    "believed": "inferred",
    "deed": "operation",
    "deeds": "operations",
    "door": "entry_point",
    "doorbell": "message",
    "doors": "entry_points",
    "flight": "call (singleflight)",
    "flights": "singleflight",
    "knock": "probe",
    "knocks": "probes",
    "lane": "priority",
    "lanes": "priority",
    "mend": "remedy",
    "mended": "corrected",
    "mending": "remedy",
    "mends": "remedies",
    "patience": "deadline, timeout",
    "ring": "enqueue",
    "rings": "enqueue",
    "rough": "faults",
    "said": "what it is: label, message, sentence",
    "says": "what it is: explanation, message, sentence",
    "short_way": "fast_path",
    "standing": "snapshot, progress",
    "standings": "snapshots",
    "turns": "priority",
    "weather": "faults",
    "words_of": "what it returns",
}
# (file, name) → why the old word stays there.
ALLOWED = {
    ("keys/api/serializers.py", "believed"): "a field of the API, which does not change",
}


def words(name: str) -> list[str]:
    """Split `snake_case` and `CamelCase` into lower-case words."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)]


def old_words(name: str) -> list[str]:
    whole = f"_{'_'.join(words(name))}_"
    return [old for old in INSTEAD if f"_{old}_" in whole]


def names(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield the module's own name, then its classes, functions, methods and what class bodies assign: the fields."""
    yield from Path(path).with_suffix("").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                targets = [line.target] if isinstance(line, ast.AnnAssign) else getattr(line, "targets", [])
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def sources() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    # A migration is history: it keeps the names of its time.
    return [path for path in listed.splitlines() if path.split("/")[0] in APPS and "/migrations/" not in path]


def test_no_name_has_an_old_word() -> None:
    found = {
        (path, name): old_words(name)
        for path in sources()
        for name in names(path, ast.parse((ROOT / path).read_text()))
        if old_words(name)
    }
    wrong = [
        f"{path}: {name}: write {INSTEAD[old]} instead of {old}"
        for (path, name), olds in found.items()
        for old in olds
        if (path, name) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)
    assert not set(ALLOWED) - set(found), "allowed, but there no more"


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("mend_order", ["mend"]),
        ("WhatToMend", ["mend"]),
        ("_words_of", ["words_of"]),
        ("SaysNo", ["says"]),
        ("Singleflight", []),
        ("recommended", []),
        ("string", []),
        ("whose_turn", []),
    ],
)
def test_a_name_is_compared_word_by_word(name: str, old: list[str]) -> None:
    assert old_words(name) == old
