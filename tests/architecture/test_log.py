"""The log: every event is recorded by somebody; what reacts to an event, or shows one, names one that there is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from keys.services import key
from support import follow, reactions
from tenants import audit_events


def recorded() -> Iterator[str]:
    """Yield the words of our functions that may be the name of an event to be recorded: what is compared with, or
    looked for, is none."""
    for app in ("tenants", "keys", "support"):
        for path in Path(settings.BASE_DIR, app).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if isinstance(function, ast.FunctionDef):
                    yield from _words(function)


def _words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, ast.Compare | ast.keyword):
        for below in ast.iter_child_nodes(node):
            yield from _words(below)


def test_every_event_of_the_table_is_recorded_by_somebody() -> None:
    assert sorted(set(audit_events.EVENTS) - set(recorded())) == []


def test_whatever_reacts_to_an_event_or_shows_one_names_one_of_the_table() -> None:
    named = {*reactions.REACTIONS, *follow.ACCOUNTS, *follow.INCIDENTS, *audit_events.STATUSES, *key.DROPPING}
    assert sorted(named - set(audit_events.EVENTS)) == []
