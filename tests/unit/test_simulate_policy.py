"""`manage.py simulate_policy`: JSON lines in, verdicts out, and what it does with lines that are none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

CUSTOMER, OTHER = "111122223333", "444455556666"
KEY = f"arn:aws:kms:eu-central-1:{CUSTOMER}:key/k"
ROLE, SESSION = f"arn:aws:iam::{CUSTOMER}:role/R", f"arn:aws:sts::{CUSTOMER}:assumed-role/R/s"
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
ROOT = {
    "Statement": [
        {
            "Sid": "Root",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{CUSTOMER}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
}
RIGHT = {
    "id": 1,
    "action": "kms:Decrypt",
    "resource": KEY,
    "principal": SESSION,
    "identityPolicies": [ALLOW],
    "resourcePolicy": ROOT,
    "context": {},
}


def answers(lines: bytes, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
    out = io.StringIO()
    call_command("simulate_policy", stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def answer(monkeypatch: pytest.MonkeyPatch, **change: Any) -> dict[str, Any]:
    (found,) = answers(json.dumps({**RIGHT, **change}).encode(), monkeypatch)
    return found


def test_a_line_gets_its_verdict_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answer(monkeypatch)
    assert (found["id"], found["verdict"]) == (1, "allowed")
    assert "Root of the resource-based policy" in found["because"]


DENY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
OUTSIDE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "*",
            "Resource": "*",
            "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}},
        }
    ],
}
WITH_PATH = {
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": ROLE.replace("role/", "role/kore/")},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
}
NAMES = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "kms:*", "Resource": "*"}]}


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"identityPolicies": []}, "implicit deny"),
        ({"identityPolicies": [ALLOW, DENY]}, "explicit deny"),
        ({"identityPolicies": [], "resourcePolicy": NAMES}, "allowed"),
        ({"identityPolicies": None, "resourcePolicy": NAMES, "principal": ROLE}, "allowed"),
        ({"identityPolicies": [], "resourcePolicy": NAMES, "resourceAccount": OTHER}, "implicit deny"),
        ({"resourcePolicy": NAMES, "resourceAccount": OTHER}, "allowed"),
        ({"resourcePolicy": None}, "implicit deny"),
        ({"sessionPolicy": DENY}, "explicit deny"),
        ({"sessionPolicy": {"Statement": []}}, "implicit deny"),
        ({"permissionBoundaries": [{"Statement": []}]}, "implicit deny"),
        ({"permissionBoundaries": []}, "allowed"),
        ({"scps": [{"Statement": []}]}, "implicit deny"),
        ({"scps": [ALLOW, {"Statement": []}]}, "allowed"),
        ({"scps": [[ALLOW], [{"Statement": []}]]}, "implicit deny"),
        ({"scps": []}, "allowed"),
        ({"rcps": [OUTSIDE]}, "explicit deny"),
        ({"rcps": [OUTSIDE], "context": {"aws:PrincipalOrgID": "o-1"}}, "allowed"),
        ({"principal": CUSTOMER, "identityPolicies": []}, "allowed"),  # the root user
        ({"identityPolicies": [], "resourcePolicy": WITH_PATH}, "allowed"),  # a session's ARN leaves the path out
        ({"identityPolicies": [], "resourcePolicy": WITH_PATH, "context": {"aws:PrincipalArn": ROLE}}, "implicit deny"),
        ({"principal": {"AWS": ROLE}, "resourcePolicy": NAMES, "identityPolicies": []}, "allowed"),
        ({"principal": {"Service": "ec2.amazonaws.com"}, "identityPolicies": []}, "implicit deny"),
        ({"principal": "*", "identityPolicies": []}, "implicit deny"),
        (
            {
                "action": "sts:AssumeRoleWithWebIdentity",
                "resource": ROLE,
                "principal": {"Federated": "accounts.google.com"},
                "identityPolicies": [],
                "resourcePolicy": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"Federated": "accounts.google.com"},
                        "Action": "sts:AssumeRoleWithWebIdentity",
                    }
                },
            },
            "allowed",
        ),
        (
            {
                "principal": ROLE,
                "resourcePolicy": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": "AROAEXAMPLE"},
                        "Action": "*",
                        "Resource": "*",
                    }
                },
                "context": {"aws:userid": "AROAEXAMPLE:s"},
            },
            "allowed",
        ),
        (
            {
                "context": {"aws:MultiFactorAuthPresent": True},
                "sessionPolicy": {
                    "Statement": {
                        "Effect": "Allow",
                        "Action": "*",
                        "Resource": "*",
                        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
                    }
                },
            },
            "allowed",
        ),
    ],
)
def test_each_field_counts(monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], verdict: str) -> None:
    found = answer(monkeypatch, **change)
    assert found.get("verdict") == verdict, found


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{}",
        b"\xff\xfe",
        b'{"id": "\xe4"}',
        b"[" * 20_000,
        b'{"a": ' * 20_000,
        b'{"context": {"a": NaN}}',
        b'{"context": {"a": -Infinity}}',
        b'{"id": 1, "id": 2}',
        b"x" * (1024 * 1024 + 1),
        b'{"smell": 1}',
    ],
    ids=lambda line: repr(line[:16]),
)
def test_a_line_that_is_none_gets_an_error_and_the_rest_go_on(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    right = json.dumps(RIGHT).encode()
    before, wrong, after = answers(b"\n".join([right, line, b"", right]), monkeypatch)
    assert (before["verdict"], after["verdict"]) == ("allowed", "allowed")
    assert wrong["error"]
    assert "verdict" not in wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"action": None}, "action"),
        ({"action": "kms"}, "a service and an operation"),
        ({"action": 1}, "action"),
        ({"resource": ""}, "resource"),
        ({"resource": "x" * 2049}, "resource"),
        ({"principal": None}, "principal"),
        ({"principal": "somebody"}, "principal"),
        ({"principal": {"AWS": ROLE, "Service": "x"}}, "principal"),
        ({"principal": {"Planet": ROLE}}, "principal"),
        ({"resourceAccount": "1"}, "12 digits"),
        ({"resourceAccount": 111122223333}, "12 digits"),
        ({"context": []}, "context"),
        ({"context": {"a": None}}, "context key a"),
        ({"context": {"a": [{}]}}, "context key a"),
        ({"identityPolicies": {}}, "identityPolicies is a list"),
        ({"identityPolicies": ["x"]}, "a policy is an object"),
        ({"resourcePolicy": "{}"}, "a policy is an object"),
        ({"resourcePolicy": {}}, "Statement"),
        ({"resourcePolicy": {"Version": [], "Statement": []}}, "Version"),
        ({"resourcePolicy": {"Statement": [{"Effect": ["Allow"], "Action": "*"}]}}, "Effect"),
        ({"resourcePolicy": {"Statement": [{"Effect": {}, "Action": "*"}]}}, "Effect"),
        ({"sessionPolicy": {"Statement": [{"Effect": "Allow"}]}}, "Action"),
        ({"sessionPolicy": {"Statement": [{"Effect": "Allow", "Action": "*", "NotAction": "*"}]}}, "Action"),
        (
            {"sessionPolicy": {"Statement": [{"Effect": "Allow", "Action": "*", "Condition": {"Smells": {"a": "b"}}}]}},
            "Condition",
        ),
        ({"scps": [1]}, "a policy is an object"),
        ({"scps": [[1]]}, "a policy is an object"),
        ({"rcps": "x"}, "rcps is a list"),
        ({"smell": 1}, "no field smell"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], words: str
) -> None:
    found = answer(monkeypatch, **change)
    assert found["id"] == 1
    assert words in found["error"]


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Action": {"a": []}, "Resource": [[{}]], "Principal": {"AWS": {"a": []}}},
        {
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Principal": [[]],
            "Condition": {"StringEquals": {"a": {"b": 1}}},
        },
        {"Effect": "Deny", "Action": "*", "Resource": "*", "NotPrincipal": {"AWS": [[], {}]}},
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": 7},
        {"Effect": "Allow", "Action": "*" * 5_000 + "x", "Resource": "*", "Principal": "*"},
    ],
)
def test_values_of_any_kind_get_an_answer(monkeypatch: pytest.MonkeyPatch, statement: dict[str, Any]) -> None:
    found = answer(monkeypatch, resourcePolicy={"Statement": [statement]})
    assert "verdict" in found or "error" in found


def test_a_file_is_read_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "cases").write_text(json.dumps(RIGHT) + "\n")
    out = io.StringIO()
    call_command("simulate_policy", str(tmp_path / "cases"), stdout=out)
    assert json.loads(out.getvalue())["verdict"] == "allowed"
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("simulate_policy", str(tmp_path / "nothing"))
