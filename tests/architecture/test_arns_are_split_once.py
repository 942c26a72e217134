"""ARNs are split in `keys.arns` alone: whoever needs a part of one has the value, or asks `arns.parts`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What is split at a colon in these apps and is no ARN, or cannot ask the parser.
ALLOWED = {
    "keys/arns.py": "the parser",
    "keys/services/key_states.py": "a cursor over transactions",
    "tenants/models/service_roles.py": "a role of ours; `tenants` is below `keys` and cannot import its parser",
    "tenants/views/tokens.py": "a sentence on the page",
}


def splits(path: Path) -> Iterator[int]:
    """Yield the lines that split a text at a colon."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"split", "rsplit"}
        ):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(
                isinstance(each, ast.Constant) and isinstance(each.value, str) and ":" in each.value for each in given
            ):
                yield node.lineno


def test_arns_are_split_in_one_module() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for app in ("keys", "tenants", "support")
        for path in sorted((ROOT / app).rglob("*.py"))
        if "migrations" not in path.parts and (lines := list(splits(path)))
    }
    assert {name: lines for name, lines in found.items() if name not in ALLOWED} == {}
    assert found.keys() == ALLOWED.keys()
