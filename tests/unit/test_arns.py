"""Which ARNs are accepted, and the reason that each refusal gives."""

from typing import Any

import pytest

from keys.arns import KeyArn, PrincipalArn, RoleArn, Rules
from keys.aws import regions
from keys.errors import ArnRefused, SecretPasted

OURS = "999900001111"
CANARY = "999900002222"
RULES = Rules(
    "aws",
    {OURS: "Kore.ai's own account", CANARY: "an account of Kore.ai's that only our own checks use"},
    {"aws": frozenset({"eu-central-1", "us-east-1"})},
)
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
        ("arn:aws:iam::111122223333:role/service-role/Mine", "111122223333", "/service-role/", "Mine"),
        ("arn:aws:iam::111122223333:role/" + "r" * 64, "111122223333", "/", "r" * 64),
    ],
)
def test_a_role_arn_is_accepted(text: str, account: str, path: str, name: str) -> None:
    role = RoleArn.parse(text, rules=RULES)
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
        (
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef",
            "aws-reserved",
        ),
        (
            "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/eu-west-1/AWSReservedSSO_Admin_0",
            "aws-reserved",
        ),
        ("arn:aws:iam::111122223333:role/AWS-Service-Role/x.amazonaws.com/y", "service-linked"),
        (f"arn:aws:iam::{CANARY}:role/x", "an account of Kore.ai's"),
        ("arn:aws-us-gov:iam::111122223333:role/x", "partition aws-us-gov"),
        ("arn:aws-cn:iam::111122223333:role/x", "partition aws-cn"),
        ("arn:aws-iso-b:iam::111122223333:role/x", "partition aws-iso-b"),
        ("arn:aws-eusc:iam::111122223333:role/x", "partition aws-eusc"),
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
        RoleArn.parse(text, rules=RULES)
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
    ],
)
def test_a_key_arn_is_accepted(text: str) -> None:
    assert str(KeyArn.parse(f" {text} ", rules=RULES)) == text


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
        (KEY.replace("eu-central-1", "cn-north-1"), "none of AWS's partition"),
        (KEY.replace("eu-central-1", "us-gov-west-1"), "none of AWS's partition"),
        (KEY.replace("aws:", "aws-us-gov:").replace("eu-central-1", "us-gov-west-1"), "partition aws-us-gov"),
        (KEY.replace("aws:", "aws-cn:").replace("eu-central-1", "cn-north-1"), "partition aws-cn"),
        (KEY.replace("eu-central-1", "eu-central-9"), "no Region eu-central-9"),
        (KEY.replace("111122223333", CANARY), "an account of Kore.ai's"),
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
        KeyArn.parse(text, rules=RULES)
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


def test_regions_are_botocores_and_those_that_we_add(settings: Any) -> None:
    settings.EXTRA_REGIONS = ["mars-north-1"]
    known = regions.of("aws")["aws"]
    assert {"us-east-1", "eu-central-1", "ap-southeast-7", "mars-north-1"} <= known
    assert not {"cn-north-1", "us-gov-west-1", "moon-north-1"} & known
    assert "us-gov-west-1" in regions.of("aws-us-gov")["aws-us-gov"]


def test_a_service_role_in_another_partition_takes_its_own() -> None:
    gov = Rules("aws-us-gov", {OURS: "Kore.ai's own account"}, {"aws-us-gov": frozenset({"us-gov-west-1"})})
    text = KEY.replace("aws:", "aws-us-gov:").replace("eu-central-1", "us-gov-west-1")
    assert str(KeyArn.parse(text, rules=gov)) == text
    assert RoleArn.parse("arn:aws-us-gov:iam::111122223333:role/r", rules=gov).name == "r"
    with pytest.raises(ArnRefused):
        RoleArn.parse(ROLE, rules=gov)


@pytest.mark.parametrize(
    ("text", "account", "kind", "name"),
    [
        (ROLE, "111122223333", "role", "AIforWorkByokAccessRole"),
        ("arn:aws:iam::111122223333:role/a/b/R", "111122223333", "role", "R"),
        ("arn:aws:sts::111122223333:assumed-role/R/byok-test", "111122223333", "assumed-role", "R"),
        ("arn:aws-cn:iam::111122223333:user/staff/alice", "111122223333", "user", "alice"),
        ("arn:aws:iam::111122223333:root", "111122223333", "root", ""),
    ],
)
def test_a_principal_as_aws_names_it(text: str, account: str, kind: str, name: str) -> None:
    principal = PrincipalArn.parse(text)
    assert principal is not None
    assert (principal.account, principal.kind, principal.name) == (account, kind, name)


@pytest.mark.parametrize("text", ["", "alice", KEY, "arn:aws:iam::1111:user/x", "arn:aws:iam::111122223333:user/x\n"])
def test_what_is_no_principal(text: str) -> None:
    assert PrincipalArn.parse(text) is None
