"""What is given back holds every statement of the customer's that could be read; else it replaces none."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_linter import KEY, OTHER_ROLE, SERVICE, VALUES, added, deny, key, permissions, read, trust, without

from keys.proof import pasted
from keys.proof.pasted import trial_requests

ADMIN = {
    "Sid": "Admins",
    "Effect": "Allow",
    "Principal": {"AWS": [OTHER_ROLE, "arn:aws:iam::111122223333:user/ada"]},
    "Action": ["kms:Create*", "kms:Put*"],
    "Resource": "*",
}
TLS = deny(Sid="OnlyTLS", Condition={"Bool": {"aws:SecureTransport": "false"}})
TEXT = json.dumps(key(ADMIN, TLS), indent=2)
THEIRS = ("Enable IAM User Permissions", "AllowYourAppAccess", "Admins", "OnlyTLS")


def _once(old: str, new: str, text: str = TEXT) -> str:
    assert old in text
    return text.replace(old, new, 1)


SLIPS: list[tuple[str, str]] = [
    ("no closing quotation mark of a value", _once('"Effect": "Allow",', '"Effect": "Allow,')),
    ("no opening quotation mark of a value", _once('"Effect": "Allow",', '"Effect": Allow",')),
    ("no quotation marks of a value", _once('"Effect": "Allow",', '"Effect": Allow,')),
    ("no closing quotation mark of a name", _once('"Effect": "Allow",', '"Effect: "Allow",')),
    ("no opening quotation mark of a name", _once('"Effect": "Allow",', 'Effect": "Allow",')),
    ("no closing quotation mark of an ARN", _once(':user/ada"', ":user/ada")),
    ("no closing quotation mark in a list", _once('"kms:Create*",', '"kms:Create*,')),
    ("no opening quotation mark in a list", _once('"kms:Create*"', 'kms:Create*"')),
    ("no quotation marks of a star", _once('"Resource": "*"', '"Resource": *')),
    ("no quotation marks of an ARN", _once(f'"{OTHER_ROLE}"', OTHER_ROLE)),
    ("no quotation marks of the Version", _once('"2012-10-17"', "2012-10-17")),
    ("all on one line, one quotation mark lost", _once('"Allow", ', '"Allow, ', json.dumps(key(ADMIN, TLS)))),
    ("no comma between elements", _once('"Effect": "Allow",', '"Effect": "Allow"')),
    ("no comma between statements", re.sub(r"\},(\s+\{)", r"}\1", TEXT, count=1)),
    ("a comma after the last", _once('"kms:Put*"', '"kms:Put*",')),
    ("two commas", _once('"Effect": "Allow",', '"Effect": "Allow",,')),
    ("a semicolon", _once('"Effect": "Allow",', '"Effect": "Allow";')),
    ("no colon", _once('"Effect": "Allow"', '"Effect" "Allow"')),
    ("curly quotation marks", TEXT.replace('"Allow"', "“Allow”")),
    ("one curly quotation mark", _once('"Allow"', '"Allow”')),
    ("single quotation marks", TEXT.replace('"', "'")),
    ("no bracket at the end", TEXT.rstrip().removesuffix("}")),
    ("no brackets at the end", TEXT.rstrip().removesuffix("}").rstrip().removesuffix("]")),
    ("no bracket around all of it", TEXT.strip().removeprefix("{").removesuffix("}")),
    ("no closing bracket of a principal", re.sub(r'(:root")\s+\}', r"\1", TEXT, count=1)),
    ("no closing bracket of a list", re.sub(r'("kms:Put\*")\s+\]', r"\1", TEXT, count=1)),
    ("no closing bracket of a statement", re.sub(r'("Resource": "\*")\s+\},', r"\1,", TEXT, count=1)),
    ("no opening bracket of a statement", re.sub(r'\{(\s+"Sid": "Admins")', r"\1", TEXT, count=1)),
    ("a bracket too many", _once('"kms:Put*"\n      ]', '"kms:Put*"\n      ]]')),
    ("another bracket", _once('"kms:Put*"\n      ]', '"kms:Put*"\n      }')),
    ("a bracket too many at the end", TEXT + "\n}"),
    ("a comment", _once('"Effect"', '// ours\n      "Effect"')),
    ("a no-break space", _once('\n      "Effect"', '\n\u00a0     "Effect"')),
    (
        "Python's names",
        _once('"Resource": "*"', '"Resource": "*", "Condition": None').replace(', "Condition": None', ""),
    ),
]


@pytest.mark.parametrize(("what", "text"), SLIPS, ids=[row[0] for row in SLIPS])
def test_a_slip_is_named_and_nothing_is_lost(what: str, text: str) -> None:
    reading = read("key", text)
    assert (reading.verdict == "unreadable") == (what != "Python's names"), reading.findings
    assert {each.code for each in reading.findings} <= {"not_json", "smart_quotes", "character"}, reading.findings
    assert json.loads(reading.corrected) == key(ADMIN, TLS)


@pytest.mark.parametrize("kind", ["trust", "permissions", "key"])
@pytest.mark.parametrize(
    "text",
    [
        '{"Version": "2012-10-17", "Statement": [{"Sid": "Mine", "Effect": "Allow", "Action": concat(a, b)}]}',
        '{"Statement": [{"Effect": "Allow" <<<<<<< HEAD\n=======\n}]}',
        json.dumps(key(*[deny(Sid=f"S{n}", Action="s3:*") for n in range(130)])),
        json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "x"}] * 100}),
    ],
)
def test_what_cannot_be_read_is_not_replaced(kind: Any, text: str) -> None:
    reading = read(kind, text)
    if any(each.code == "other_kind" for each in reading.findings):
        return  # theirs is another document, and stays where it is
    assert "foreign_notation" not in {each.code for each in reading.findings}
    assert "Statement" not in json.loads(reading.corrected)
    (said,) = [each for each in reading.findings if each.code == "statement_alone"]
    assert "leave your own statements" in said.fix
    assert read(kind, added(kind, reading)).verdict == "ok"


def test_a_deny_of_the_role_that_hits_us_is_narrowed_and_stays() -> None:
    guard = {"Sid": "Regions", "Effect": "Deny", "Action": "*", "Resource": "*",
             "Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}}  # fmt: skip
    found = json.loads(read("permissions", permissions(guard)).corrected)["Statement"]
    assert {**guard, "NotResource": KEY} == {**found[1], "Resource": "*"}


OTHERS: dict[str, list[dict[str, Any]]] = {
    "key": [
        ADMIN,
        TLS,
        deny(Sid="Hits", Action="kms:Decrypt"),
        deny(Sid="Org", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}),
        {**ADMIN, "Sid": "Wide", "Principal": "*"},
        {**ADMIN, "Sid": "Service", "Principal": {"Service": "logs.eu-central-1.amazonaws.com"}},
        {**ADMIN, "Sid": "Not us", "Action": "kms:Decrypt", "Condition": {"StringEquals": {"kms:ViaService": "s3.x"}}},
    ],
    "trust": [
        {"Sid": "Ec2", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
        {"Sid": "Ada", "Effect": "Allow", "Principal": {"AWS": OTHER_ROLE}, "Action": "sts:AssumeRole"},
        {"Sid": "Hits", "Effect": "Deny", "Principal": "*", "Action": "sts:*"},
        {"Sid": "Tags", "Effect": "Deny", "Principal": {"AWS": SERVICE}, "Action": "sts:TagSession"},
    ],
    "permissions": [
        {"Sid": "Logs", "Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"},
        {"Sid": "Hits", "Effect": "Deny", "Action": "*", "Resource": "*"},
        {"Sid": "HitsHalf", "Effect": "Deny", "Action": "kms:Decrypt", "Resource": "arn:aws:kms:*:*:key/*"},
        {"Sid": "Tls", "Effect": "Deny", "Action": "*", "Resource": "*",
         "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
    ],
}  # fmt: skip
OURS: dict[str, Any] = {"key": key(), "trust": trust(), "permissions": permissions()}


@st.composite
def documents_of_theirs(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """Draw a kind, the Sids of their statements, and the text with up to two signs of JSON lost or doubled."""
    kind = draw(st.sampled_from(sorted(OURS)))
    theirs = draw(st.lists(st.sampled_from(OTHERS[kind]), max_size=4, unique_by=lambda each: each["Sid"]))
    own = OURS[kind]["Statement"] if draw(st.booleans()) else OURS[kind]["Statement"][: 1 if kind == "key" else 0]
    statements = draw(st.permutations([*own, *theirs]))
    text = json.dumps(without({"Version": "2012-10-17", "Statement": list(statements)}), indent=2)
    for _ in range(draw(st.integers(0, 2))):
        places = [at for at, sign in enumerate(text) if sign in '"{}[],:']
        at = draw(st.sampled_from(places))
        text = text[:at] + draw(st.sampled_from(["", "", text[at] * 2])) + text[at + 1 :]
    return kind, [each["Sid"] for each in theirs], text


@settings(deadline=None, max_examples=150)
@given(document=documents_of_theirs())
def test_every_statement_that_was_readable_is_in_what_is_given_back(document: tuple[Any, list[str], str]) -> None:
    kind, sids, text = document
    reading = pasted.lint(kind, text, VALUES)
    found = json.loads(reading.corrected)
    if "Statement" not in found:
        assert any(each.code == "statement_alone" for each in reading.findings)
    elif reading.verdict != "unreadable" or "Effect" in text:
        kept = {each.get("Sid") for each in found["Statement"]}
        policy = pasted.unwrapping.read(text).policy or {"Statement": []}
        readable = {each.get("Sid") for _, each in trial_requests.statements(policy)}
        said = " ".join(each.text for each in reading.findings if each.code == "statement_left_out")
        lost = {sid for sid in sids if sid in readable and sid not in kept and sid not in said}
        assert not lost, (text, reading.findings)
    assert read(kind, added(kind, reading)).verdict == "ok"
