"""What the paste box says: no Python, no riddles, the blank is called a blank, and the star of ReEncrypt is told."""

from __future__ import annotations

from typing import Any

import pytest
from unit.test_linter import (
    ALL,
    EXTERNAL_ID,
    KEY,
    OTHER_ROLE,
    ROLE,
    SERVICE,
    asks,
    key,
    permissions,
    read,
    trust,
    without,
)


def with_action(old: str, new: str) -> list[str]:
    return [each.replace(old, new) for each in ALL]


SAID: list[tuple[str, Any, Any, str, str]] = [
    # what, kind, policy, code, words of its text or fix
    (
        "ReEncrypt in the role's policy",
        "permissions",
        permissions(Action=with_action("ReEncrypt*", "ReEncrypt")),
        "action_unknown",
        "kms:ReEncrypt*",
    ),
    (
        "ReEncrypt in the key policy",
        "key",
        key(Action=with_action("ReEncrypt*", "ReEncrypt")),
        "action_unknown",
        "kms:ReEncrypt*",
    ),
    (
        "reencrypt in small letters",
        "key",
        key(Action=with_action("ReEncrypt*", "reencrypt")),
        "action_unknown",
        "kms:ReEncrypt*",
    ),
    (
        "ReEncrypt without its service",
        "key",
        key(Action=with_action("kms:ReEncrypt*", "ReEncrypt")),
        "action_malformed",
        "kms:ReEncrypt*",
    ),
    ("a blank after the role", "key", key(Principal={"AWS": ROLE + " "}), "principal_mismatch", "blank"),
    ("a blank before the role", "key", key(Principal={"AWS": [" " + ROLE]}), "principal_malformed", "blank"),
    ("a blank after our role", "trust", trust(Principal={"AWS": SERVICE + " "}), "principal_mismatch", "blank"),
    ("a blank after the key", "permissions", permissions(Resource=KEY + " "), "wrong_resource", "blank"),
    ("a blank before the key", "permissions", permissions(Resource=" " + KEY), "resource_malformed", "blank"),
    ("a line end after the key", "permissions", permissions(Resource=KEY + "\n"), "wrong_resource", "blank"),
    (
        "a blank in an action",
        "permissions",
        permissions(Action=with_action("Decrypt", "Decrypt ")),
        "action_malformed",
        "blank",
    ),
    ("a blank after Allow", "key", key(Effect="Allow "), "effect", "blank"),
    ("a blank after the id", "trust", asks("StringEquals", EXTERNAL_ID + " "), "external_id_mismatch", "blank"),
    (
        "eleven digits",
        "trust",
        trust(Principal={"AWS": "arn:aws:iam::99990000111:role/byok-service-1"}),
        "principal_malformed",
        "12 digits",
    ),
    (
        "a wildcard in a principal",
        "key",
        key(Principal={"AWS": [ROLE, "arn:aws:iam::111122223333:role/*"]}),
        "principal_malformed",
        "no wildcard",
    ),
    (
        "a group",
        "key",
        key(Principal={"AWS": [ROLE, "arn:aws:iam::111122223333:group/admins"]}),
        "principal_malformed",
        "neither",
    ),
    (
        "a principal as an object",
        "key",
        key(Principal={"AWS": {"Name": OTHER_ROLE}}),
        "principal_malformed",
        '{"Name": ',
    ),
    (
        "another Region",
        "key",
        key(Condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
        "condition_unmet",
        "our calls go to eu-central-1",
    ),
    (
        "another caller",
        "key",
        key(Condition={"StringEquals": {"kms:CallerAccount": "123456789012"}}),
        "condition_unmet",
        "111122223333",
    ),
    (
        "another role of theirs",
        "key",
        key(Condition={"ArnEquals": {"aws:PrincipalArn": OTHER_ROLE}}),
        "condition_unmet",
        f"we come as {ROLE}",
    ),
    (
        "what only services carry",
        "trust",
        trust(Condition={"StringEquals": {"sts:ExternalId": EXTERNAL_ID, "aws:SourceAccount": "1"}}),
        "condition_source_account",
        "AWS service",
    ),
    (
        "a key of another service",
        "key",
        key(Condition={"StringEquals": {"s3:prefix": "x"}}),
        "condition_unmet",
        "our calls do not carry it",
    ),
]


@pytest.mark.parametrize(("what", "kind", "policy", "code", "words"), SAID, ids=[row[0] for row in SAID])
def test_it_is_said_in_words_that_help(what: str, kind: Any, policy: Any, code: str, words: str) -> None:
    reading = read(kind, without(policy))
    said = [f"{each.text} {each.fix}" for each in reading.findings if each.code == code]
    assert said and any(words in each for each in said), reading.findings
    everything = " ".join(f"{each.text} {each.fix}" for each in reading.findings)
    assert "{'" not in everything and "that we make do not." not in everything
    assert read(kind, reading.corrected).verdict == "ok"
