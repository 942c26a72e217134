"""What a reading of the paste box costs: the worst and the median of documents broken at random,
and of a few made to be slow."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.figure import Figure

sys.path.append(str(Path(__file__).parents[1]))  # as pytest does: the tests import each other by their folder

from unit.test_linter import ROLE, SERVICE, VALUES
from unit.test_linter_fuzz import documents

from keys.proof import pasted

NUMBER = 5_000


def measure() -> Iterator[Figure]:
    """Yield the figures of issue 4: at most 50 ms a document."""
    spent = sorted(_spent(kind, text) for kind, text in documents(NUMBER, seed=7))
    yield Figure(f"paste box: worst of {NUMBER:,} broken documents", spent[-1], "ms CPU", 50)
    yield Figure(f"paste box: median of {NUMBER:,} broken documents", statistics.median(spent), "ms CPU", 5)
    for name, kind, text in hostile():
        yield Figure(f"paste box: {name}", _spent(kind, text), "ms CPU", 100)


def hostile() -> Iterator[tuple[str, Any, str]]:
    """Yield documents made to be slow, each as large as it may be."""
    yield "nothing but brackets", "key", "[" * 65_000
    yield "blanks of a word processor", "key", "{" + " \u00a0" * 32_000
    everybody = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    yield "open to everybody 100 times", "key", _policy([everybody] * 100)
    through = [{**everybody, "Condition": {"StringLike": {"kms:ViaService": f"*{n}*a*b*c*"}}} for n in range(100)]
    yield "100 conditions with wildcards", "key", _policy(through)
    yield (
        "a thousand condition keys",
        "key",
        _policy(
            [
                {
                    **everybody,
                    "Effect": "Deny",
                    "Condition": {"StringNotLike": {f"aws:x{n}": "*a*a*" for n in range(1_000)}},
                }
            ]
        ),
    )
    yield (
        "actions full of stars",
        "permissions",
        _policy([{"Effect": "Allow", "Action": [f"kms:{'*a' * 20}{n}" for n in range(120)], "Resource": ROLE}]),
    )
    yield (
        "three hundred External IDs",
        "trust",
        _policy(
            [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": SERVICE},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringLike": {"sts:ExternalId": [f"*{n}?" for n in range(300)]}},
                }
            ]
        ),
    )


def _policy(statements: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _spent(kind: Any, text: str) -> float:
    """Return the milliseconds of this process's own time: other work on the machine does not count."""
    began = time.process_time()
    pasted.lint(kind, text, VALUES)
    return (time.process_time() - began) * 1000
