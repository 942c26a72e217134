"""The paste box: what is read in a customer's policy, and that no text breaks the reader."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.policies import documents, linter

SERVICE = "arn:aws:iam::999900001111:role/byok-service-1"
EXTERNAL_ID = "byok-mine"
ROLE = "arn:aws:iam::111122223333:role/R"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ROOT = {
    "Sid": "Root",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "kms:*",
    "Resource": "*",
}
VALUES = {"service_role_arn": SERVICE, "external_id": EXTERNAL_ID, "role_arn": ROLE, "key_arn": KEY}


def read(kind: Any, policy: Any) -> linter.Reading:
    return linter.lint(kind, policy if isinstance(policy, str) else json.dumps(policy, indent=2), **VALUES)


def trust(**changes: Any) -> dict[str, Any]:
    policy = documents.trust_policy(SERVICE, EXTERNAL_ID)
    policy["Statement"][0] |= changes
    return policy


def condition(operator: str, value: Any) -> dict[str, Any]:
    return trust(Condition={operator: {"sts:ExternalId": value}})


GOOD_KEY = {"Version": "2012-10-17", "Statement": [ROOT, documents.key_policy_statement(ROLE)]}


@pytest.mark.parametrize(
    ("kind", "policy"), [("trust", trust()), ("permissions", documents.permissions_policy(KEY)), ("key", GOOD_KEY)]
)
def test_the_guides_own_documents_are_ok(kind: str, policy: Any) -> None:
    assert read(kind, policy).verdict == "ok", read(kind, policy).findings


@pytest.mark.parametrize(
    ("kind", "policy", "verdict", "code"),
    [
        ("trust", trust(Condition={}), "unsafe", "too_wide_no_external_id"),
        ("trust", condition("StringLike", "*"), "unsafe", "too_wide_any_external_id"),
        ("trust", condition("StringEqualsIfExists", EXTERNAL_ID), "unsafe", "too_wide_no_external_id"),
        ("trust", condition("ForAllValues:StringEquals", EXTERNAL_ID), "unsafe", "too_wide_no_external_id"),
        ("trust", condition("StringEquals", [EXTERNAL_ID, "byok-other"]), "unsafe", "too_wide_other_external_id"),
        ("trust", trust(Principal="*"), "unsafe", "too_wide_principal"),
        ("trust", condition("StringEquals", "byok-other"), "incomplete", "missing_trust"),
        ("trust", trust(Principal={"AWS": "AROAEXAMPLE"}), "incomplete", "stale_principal"),
        ("trust", trust(Principal={"AWS": "arn:aws:iam::999900001111:root"}), "ok", "account_root"),
        ("trust", documents.permissions_policy(KEY), "incomplete", "other_kind"),
        ("permissions", documents.permissions_policy(KEY + "2"), "incomplete", "missing_action"),
        ("permissions", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}, "ok", "wider_than_needed"),
        ("permissions", GOOD_KEY, "incomplete", "other_kind"),
        ("key", {"Version": "2012-10-17", "Statement": [ROOT]}, "incomplete", "missing_action"),
        ("key", {"Version": "2012-10-17", "Statement": [documents.key_policy_statement(ROLE)]}, "ok", "lock_out"),
        ("key", {"Version": "2012-10-17", "Statement": [ROOT | {"Principal": "*"}]}, "unsafe", "too_wide_principal"),
        ("key", documents.key_policy_statement(ROLE), "unreadable", "statement_only"),
        ("key", {**GOOD_KEY, "Version": "2026-01-01"}, "incomplete", "version"),
        ("key", "{", "unreadable", "not_json"),
        ("key", '{"Version": "x", "Version": "y", "Statement": []}', "unreadable", "duplicate_key"),
        ("key", '{"Statement": [], "a": NaN}', "unreadable", "not_json"),
        ("key", "[" * 100_000, "unreadable", "too_long"),
        ("key", "[" * 50_000, "unreadable", "too_deep"),
        ("key", '{"Statement": "\u200b"}', "unreadable", "character"),
    ],
)  # fmt: skip
def test_a_flaw_is_named(kind: str, policy: Any, verdict: str, code: str) -> None:
    reading = read(kind, policy)
    assert reading.verdict == verdict, reading.findings
    assert code in {finding.code for finding in reading.findings}
    assert all(finding.line >= 1 and finding.fix for finding in reading.findings)


def test_the_corrected_key_policy_keeps_what_is_theirs() -> None:
    theirs = {"Version": "2012-10-17", "Id": "mine", "Statement": [ROOT, {**ROOT, "Sid": "Backup"}]}
    corrected = json.loads(read("key", theirs).corrected)
    assert corrected["Id"] == "mine"
    assert corrected["Statement"] == [*theirs["Statement"], documents.key_policy_statement(ROLE)]
    assert read("key", corrected).verdict == "ok"


@pytest.mark.parametrize("kind", get_args(linter.Kind))
@given(text=st.one_of(st.text(max_size=200), st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Version", "Statement", "Effect", "Principal", "AWS", "Action", "Resource", "Condition", "StringEquals", "sts:ExternalId"]), inner, max_size=4), max_leaves=12).map(lambda value: json.dumps(value, ensure_ascii=False))))  # fmt: skip
def test_no_text_breaks_the_reader(kind: linter.Kind, text: str) -> None:
    reading = linter.lint(kind, text, **VALUES)
    json.loads(reading.corrected)
