"""What many threads of a process share: caches are `byokportal.lru`, and what others change is iterated over under its
lock or as a copy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Caches that are not `Lru` and take arguments, each with what bounds it. None is keyed by what a stranger sends.
OTHER_CACHES = {
    "byokportal/beat.py:_statements": "the looks of the settings",
    "byokportal/stored_sentences.py:_templates": "one for each language",
    "byokportal/clock.py:_http_date": "this second and the one before",
    "keys/configuration/packing.py:_empty_sizes": "our account, in a partition or two",
    "keys/datakeys/http/operations.py:_instant": "1,000 instants of ours",
    "keys/aws/hot.py:_pool": "one for each Region of AWS",
    "keys/aws/hot.py:_protocol": "STS and KMS",
    "keys/aws/regions.py:_known": "our own partition",
    "keys/views/guide.py:_text": "one for each language",
    "keys/policies/conditions.py:_short": "4,096 patterns of at most 256 characters",
}
SHARED = {"dict", "set", "OrderedDict", "deque", "defaultdict", "WeakKeyDictionary", "WeakSet", "Counter", "list"}
COPIES = {"list", "tuple", "dict", "set", "sorted", "min", "max", "sum", "any", "all", "next", "iter", "frozenset"}


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for app in ("byokportal", "tenants", "keys", "support"):
        for path in sorted((ROOT / app).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(("byokportal/localaws/", "byokportal/embedded/", "byokportal/demo/")):
                yield name, ast.parse(path.read_text())


def test_every_cache_evicts_the_idle_one_or_says_what_bounds_it() -> None:
    found = set()
    for name, tree in _modules():
        if name == "byokportal/lru.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.unparse(node.args):
                for decorator in node.decorator_list:
                    text = ast.unparse(decorator)
                    if text.split("(")[0].split(".")[-1] in {"cache", "lru_cache"}:
                        found.add(f"{name}:{node.name}")
            elif isinstance(node, ast.Attribute) and node.attr == "popitem":
                found.add(f"{name}:popitem")
            elif isinstance(node, ast.Call) and ast.unparse(node).startswith("next(iter(self."):
                found.add(f"{name}:{ast.unparse(node)}")  # evicts what was put in first
    assert found == OTHER_CACHES.keys()


def test_what_other_threads_change_is_iterated_over_under_a_lock_or_as_a_copy() -> None:
    """Look at modules with threads: loops and comprehensions over a dictionary, set,
    list or deque that outlives a call."""
    bare = []
    for name, tree in _modules():
        if "threading" in {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }:
            bare += [f"{name}:{line}" for line in _bare_iterations(tree, _kept(tree))]
    assert bare == []


def _kept(tree: ast.Module) -> set[str]:
    """Return the names of containers that live in a module or an object: `_found`, `self._found`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            is_container = isinstance(node.value, ast.Dict | ast.Set | ast.List) or (
                isinstance(node.value, ast.Call) and ast.unparse(node.value.func).split("[")[0].split(".")[-1] in SHARED
            )
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if is_container and (isinstance(target, ast.Attribute) or node in tree.body):
                    names.add(ast.unparse(target).removeprefix("self."))
    return names


def _bare_iterations(tree: ast.Module, kept: set[str]) -> Iterator[int]:
    locked = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any("lock" in ast.unparse(item) or "_counting" in ast.unparse(item) for item in node.items)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in locked:
            continue
        if isinstance(node, ast.For | ast.comprehension):
            iterated = [node.iter]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in COPIES:
            iterated = node.args[:1]
        else:
            continue
        for each in iterated:
            text = ast.unparse(each)
            owner = text.split("[")[0].removesuffix(".values()").removesuffix(".items()").removesuffix(".keys()")
            if owner.rpartition(".")[2] in kept:
                yield each.lineno
