"""No text breaks the paste box, whatever stands in it, and what it gives back always reads as right."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_linter import CASES, EXTERNAL_ID, KEY, ROLE, SERVICE, VALUES, added, without

from keys.policies import evaluator
from keys.policies.evaluator import Principal, Request
from keys.proof import pasted

PIECES = [
    *"{}[],:\"\\*?#';=\u00a0\u201c\ufeff\u200b\ud7ff\x00\u2028",
    "${",
    "null",
    "true",
    "0",
    "-1",
    "1e9",
    "//",
    "/*",
    "<x>",
    "{}",
    "[]",
    *map(
        json.dumps,
        (
            "Allow",
            "Deny",
            "Principal",
            "*",
            "NotPrincipal",
            "Condition",
            "StringLike",
            "ForAnyValue:StringEquals",
            "NotAction",
        ),
    ),
    *map(json.dumps, ("kms:*", "Resource", "Sid", "Version", "2008-10-17", "sts:ExternalId", "AWS", "Statement")),
    "AKIA",
    "arn:aws:iam::",
]
NAMES = [
    "Allow",
    "Deny",
    "Action",
    "Principal",
    "Resource",
    "Condition",
    "StringEquals",
    "AWS",
    "Statement",
    "Version",
    "Effect",
    "sts:ExternalId",
    "kms:",
    "arn:aws",
]
INSTEAD = [
    "Allow",
    "Deny",
    "NotAction",
    "NotPrincipal",
    "Principal",
    "NotResource",
    "*",
    "X",
    "StringLike",
    "Null",
    "kms:ViaService",
    "ForAllValues:StringEquals",
]
VALUES_OF_ANY_KIND: list[Any] = [
    None,
    True,
    0,
    "",
    "*",
    [],
    {},
    [[]],
    ["*"],
    {"AWS": "*"},
    {"AWS": [SERVICE, ROLE]},
    "Allow",
    "Deny",
    SERVICE,
    ROLE,
    KEY,
    EXTERNAL_ID,
    {"StringLike": {"sts:ExternalId": "*"}},
    {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    {"Null": {"sts:ExternalId": "true"}},
    ["kms:*"],
    "kms:Decrypt",
    "sts:AssumeRole",
    "x" * 3000,
    ["a*b*c*d*"] * 50,
    "*?" * 300,
    {"StringLike": {"sts:ExternalId": ["*" * 50 + "x"] * 20}},
]
SEEDS = [(kind, without(policy)) for kind, _, policy, *_ in CASES if isinstance(policy, dict)]
Change = Callable[[random.Random, str], str]


def of_text(rng: random.Random, text: str) -> str:
    """Change a text as slips of the hand, editors and hostile people do."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.randrange(1, 40))
        lines = text.split("\n")
        line = rng.randrange(len(lines))
        match rng.randrange(9):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + rng.choice(PIECES) + text[start:]
            case 2:
                text = text[:start] + rng.choice(PIECES) + text[end:]
            case 3:
                text = text[:end] + text[start:end] * rng.choice([1, 2, 30]) + text[end:]
            case 4:
                text = (
                    text[:start]
                    + chr(rng.choice([rng.randrange(32), rng.randrange(127), rng.randrange(0xD7FF)]))
                    + text[start:]
                )
            case 5:
                text = text.replace(rng.choice(NAMES), rng.choice(INSTEAD), 1)
            case 6:
                other = rng.randrange(len(lines))
                lines[line], lines[other] = lines[other], lines[line]
                text = "\n".join(lines)
            case 7:
                text = "\n".join([*lines[:line], *lines[line + rng.randrange(1, 4) :]])
            case _:
                text = text[:start] + json.dumps(rng.choice(SEEDS)[1]) + text[start:]
        text = text[:66_000]
    return text


def of_tree(rng: random.Random, policy: Any) -> str:
    """Change a policy element by element; it stays JSON."""
    policy = json.loads(json.dumps(policy))
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for place in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, place))
            walk(value[place])

    walk(policy)
    for _ in range(rng.choice([1, 1, 2, 4])):
        holder, place = rng.choice(places)
        value = rng.choice([*VALUES_OF_ANY_KIND, rng.choice(SEEDS)[1]["Statement"]])
        if isinstance(holder, list):
            holder.append(value) if rng.random() < 0.5 else holder.__setitem__(slice(0, 1), [value])
        elif rng.random() < 0.3:
            holder.pop(place, None)
        else:
            holder[rng.choice([place, place, *INSTEAD, "Sid", "Effect", "Condition"])] = value
    return json.dumps(policy, indent=rng.choice([None, 2, 4]), ensure_ascii=rng.random() < 0.5)


def documents(number: int, seed: int) -> list[tuple[Any, str]]:
    """Return that many broken documents with the kind that each is read as."""
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        kind, policy = rng.choice(SEEDS)
        text = (
            of_tree(rng, policy)
            if rng.random() < 0.5
            else of_text(rng, json.dumps(policy, indent=rng.choice([None, 2, 4])))
        )
        made.append((rng.choice(get_args(pasted.Kind)) if rng.random() < 0.1 else kind, text))
    return made


def check(kind: Any, text: str) -> None:
    reading = pasted.lint(kind, text, VALUES)
    lines = len(pasted.json_document.split_lines(text))
    assert all(1 <= finding.line <= lines and finding.text and finding.fix for finding in reading.findings)
    assert all((finding.text + finding.fix).isprintable() for finding in reading.findings)
    assert reading.corrected.isascii() or reading.verdict != "unreadable"
    again = pasted.lint(kind, added(kind, reading), VALUES)
    assert again.verdict == "ok", (kind, text, again.findings)
    # What is called right lets us in, by the evaluator alone.
    if reading.verdict == "ok":
        assert pasted.granted(kind, text, VALUES), (kind, text)
        if kind == "trust":
            policy = pasted.unwrapping.read(text).policy
            for given in (None, "", "byok-another", EXTERNAL_ID + "x", EXTERNAL_ID.upper()):
                assert not _gets_in(policy, given), (given, text)


def _gets_in(policy: Any, external_id: str | None) -> bool:
    """Ask the evaluator as STS would for our role, without any of the paste box's own questions."""
    who = Principal("arn:aws:sts::999900001111:assumed-role/byok-service-1/s", "999900001111", "AROAX", SERVICE)
    context = {"aws:PrincipalArn": SERVICE, "aws:PrincipalAccount": "999900001111", "aws:SecureTransport": "true"}
    if external_id is not None:
        context["sts:ExternalId"] = external_id
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    request = Request("sts:AssumeRole", ROLE, who, context)
    return evaluator.evaluate(request, identity=[everything], resource=policy).allowed


def test_documents_broken_at_random() -> None:
    for kind, text in documents(500, seed=1):
        check(kind, text)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_documents_broken_at_random(seed: int) -> None:
    """Always the same ones; `make soak` tries ten times as many of each seed, fifty thousand."""
    for kind, text in documents(int(os.environ.get("BROKEN_DOCUMENTS", "500")), seed=100 + seed):
        check(kind, text)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(max_size=5)
    | st.sampled_from(["*", "Allow", "Deny", SERVICE, ROLE, KEY, EXTERNAL_ID]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Version",
                    "Statement",
                    "Effect",
                    "Principal",
                    "AWS",
                    "Action",
                    "Resource",
                    "Condition",
                    "StringEquals",
                    "Null",
                    "sts:ExternalId",
                    "NotAction",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", get_args(pasted.Kind))
@settings(deadline=None, max_examples=60)
@given(
    text=st.one_of(
        st.text(max_size=200),
        json_values.map(lambda value: json.dumps(value, ensure_ascii=False)),
        json_values.map(lambda value: json.dumps({"Version": "2012-10-17", "Statement": [value]})),
    )
)
def test_no_text_breaks_the_reader(kind: Any, text: str) -> None:
    check(kind, text)


@settings(deadline=None, max_examples=60)
@given(value=json_values)
def test_whatever_is_json_is_read_as_json_reads_it(value: Any) -> None:
    document = pasted.json_document.parse(json.dumps(value, indent=1))
    assert document.value == value
