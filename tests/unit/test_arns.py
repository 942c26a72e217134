"""Which ARNs are accepted, and the reason that each refusal gives."""

import pytest

from keys.arns import KeyArn, RoleArn
from keys.errors import ArnRefused, SecretPasted

OURS = "999900001111"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MRK = "mrk-1234abcd12ab34cd56ef1234567890ab"


@pytest.mark.parametrize(
    ("text", "account", "path", "name"),
    [
        (ROLE, "111122223333", "/", "AIforWorkByokAccessRole"),
        (f"  {ROLE}\n", "111122223333", "/", "AIforWorkByokAccessRole"),
        (
            "arn:aws:iam::111122223333:role/security/byok/Any_Name+=,.@-",
            "111122223333",
            "/security/byok/",
            "Any_Name+=,.@-",
        ),
        ("arn:aws-us-gov:iam::111122223333:role/r", "111122223333", "/", "r"),
        ("arn:aws:iam::111122223333:role/" + "r" * 64, "111122223333", "/", "r" * 64),
    ],
)
def test_a_role_arn_is_accepted(text: str, account: str, path: str, name: str) -> None:
    role = RoleArn.parse(text, our_account=OURS)
    assert (role.account, role.path, role.name) == (account, path, name)
    assert str(role) == text.strip()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "missing"),
        ("my-role", "not an ARN"),
        (ROLE + "*", "wildcards"),
        ("arn:aws:iam::111122223333:role/a?b", "wildcards"),
        ("arn:aws:iam::111122223333:role/${aws:username}", "wildcards"),
        ("arn:aws:iam::111122223333:role/pa*th/name", "wildcards"),
        ("arn:aws:iam::999900001111:role/x", "Kore.ai's own account"),
        ("arn:aws:sts::111122223333:assumed-role/x/session", "session of a role"),
        ("arn:aws:iam::111122223333:assumed-role/x/session", "session of a role"),
        ("arn:aws:iam::111122223333:user/x", "IAM user"),
        ("arn:aws:iam::111122223333:root", "root"),
        ("arn:aws:iam::111122223333:role/aws-service-role/x.amazonaws.com/y", "service-linked"),
        ("arn:aws:iam::111122223333:group/x", "does not name an IAM role"),
        (KEY, "something else"),
        ("arn:azure:iam::111122223333:role/x", "partition"),
        ("arn:aws:iam::11112222333:role/x", "12 digits"),
        ("arn:aws:iam::１１１１２２２２３３３３:role/x", "U+FF11"),
        ("arn:aws:iam::111122223333:role/Rоle", "U+043E"),  # a Cyrillic o
        ("arn:aws:iam::111122223333:role/x\u200b", "U+200B"),
        ("\ufeff" + ROLE, "U+FEFF"),
        ("arn:aws:iam::111122223333:role/a b", "U+0020"),
        ("arn:aws:iam::111122223333:role/a\x00", "U+0000"),
        ("arn:aws:iam::111122223333:role/", "1 to 64"),
        ("arn:aws:iam::111122223333:role/" + "r" * 65, "1 to 64"),
        ("arn:aws:iam::111122223333:role//double/x", "path"),
        ("arn:aws:iam::111122223333:role/" + "p" * 512 + "/x", "path"),
        ("arn:aws:iam::111122223333:role/x:y", "1 to 64"),
        ("arn:aws:iam:eu-west-1:111122223333:role/x", "no Region"),
        ("a" * 2049, "2049 characters"),
    ],
)
def test_a_role_arn_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ArnRefused) as refused:
        RoleArn.parse(text, our_account=OURS)
    assert why in str(refused.value)
    assert refused.value.errors == {"role_arn": [str(refused.value)]}


def test_a_claim_ignores_letter_case_and_path() -> None:
    assert (
        RoleArn.parse("arn:aws:iam::111122223333:role/a/B").claim
        == RoleArn.parse("arn:aws:iam::111122223333:role/b").claim
    )


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"arn:aws:kms:us-east-1:111122223333:key/{MRK}",
        KEY.replace("aws:", "aws-us-gov:").replace("eu-central-1", "us-gov-west-1"),
    ],
)
def test_a_key_arn_is_accepted(text: str) -> None:
    assert str(KeyArn.parse(f" {text} ", our_account=OURS)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("arn:aws:kms:eu-central-1:111122223333:alias/byok", "alias"),
        (f"arn:aws:kms:us-east-1:111122223333:key/{MRK}0", "mrk-"),
        (f"arn:aws:kms:us-east-1:111122223333:key/{MRK[:-1]}", "mrk-"),
        (KEY.replace("eu-central-1", "us-east-1.evil.com/#"), "Region"),
        (KEY.replace("eu-central-1", "moon-north-1"), "Region"),
        (KEY.replace("eu-central-1", "us-east-1a"), "Region"),
        (KEY.replace("eu-central-1", ""), "Region"),
        (KEY.replace("aws:", "aws-cn:"), "Region"),
        (KEY.replace("eu-central-1", "cn-north-1"), "another partition"),
        (KEY.replace("aws:", "azure:"), "partition"),
        (KEY.replace("111122223333", OURS), "Kore.ai's own account"),
        (KEY.upper().replace("ARN:AWS:KMS:EU-CENTRAL-1", "arn:aws:kms:eu-central-1").replace("KEY/", "key/"), "UUID"),
        (KEY + "/x", "UUID"),
        (KEY + "\u200b", "U+200B"),
        (KEY.replace("key/", "grant/"), "does not name a KMS key"),
        (ROLE, "something else"),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", "not an ARN"),
    ],
)
def test_a_key_arn_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ArnRefused) as refused:
        KeyArn.parse(text, our_account=OURS)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ASIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    ],
)
@pytest.mark.parametrize("kind", [RoleArn, KeyArn])
def test_a_pasted_secret_is_refused_and_not_repeated(kind: type[RoleArn] | type[KeyArn], secret: str) -> None:
    with pytest.raises(SecretPasted, match="rotate it now") as refused:
        kind.parse(secret)
    assert secret not in str(refused.value)
    assert secret not in repr(refused.value.params)
