"""No module of ours imports itself through others: not in a function and not for a type either.

A module in a circle can be read, tested and moved with the whole circle only. import-linter's layers forbid circles
between packages; this is about each module.
"""

from __future__ import annotations

import grimp

PACKAGES = ("byokportal", "tenants", "keys", "support")


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the shortest circle through each module that has one; each circle once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in sorted(imports):
        paths, seen = [[start]], {start}
        while paths:
            path = paths.pop(0)
            if start in imports[path[-1]]:
                found.setdefault(frozenset(path), [*path, start])
                break
            fresh = sorted(imports[path[-1]] - seen)
            seen |= set(fresh)
            paths += [[*path, module] for module in fresh]
    return list(found.values())


def test_no_import_circles() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 300
    assert not [" → ".join(circle) for circle in circles(imports)]


def test_a_circle_is_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(imports) == [["a", "b", "c", "a"], ["d", "e", "d"]]
