"""The paste box: every flaw by its code and true line, the verdict, and a corrected document that reads as right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from keys.access import Access
from keys.policies import documents
from keys.proof import pasted
from keys.proof.pasted.findings import Values

SERVICE = "arn:aws:iam::999900001111:role/byok-service-1"
EXTERNAL_ID = "byok-Mine_0123456789-abcdefghijklmnopqrstuvwxyz"
ROLE = "arn:aws:iam::111122223333:role/AIforWorkByokAccessRole"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = KEY[:-1] + "c"
OTHER_ROLE = "arn:aws:iam::111122223333:role/Admin"
ROOT = {
    "Sid": "Enable IAM User Permissions",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::111122223333:root"},
    "Action": "kms:*",
    "Resource": "*",
}
TEXTS = {"service_role_arn": SERVICE, "external_id": EXTERNAL_ID, "role_arn": ROLE, "key_arn": KEY, "tenant": "t-1"}
VALUES = Values(Access.of_texts(**TEXTS))
LEFT_OUT: Any = object()
ALL = list(documents.ACTIONS)


def read(kind: Any, policy: Any, **values: str) -> pasted.PastedPolicy:
    text = policy if isinstance(policy, str) else json.dumps(policy, indent=2)
    return pasted.lint(kind, text, Values(Access.of_texts(**{**TEXTS, **values})))


def _changed(policy: dict[str, Any], at: int, changes: dict[str, Any]) -> dict[str, Any]:
    statement = {**policy["Statement"][at], **changes}
    policy["Statement"][at] = {name: value for name, value in statement.items() if value is not LEFT_OUT}
    return policy


def trust(*more: Any, **changes: Any) -> dict[str, Any]:
    policy = _changed(documents.trust_policy(SERVICE, EXTERNAL_ID), 0, changes)
    return {**policy, "Statement": [*policy["Statement"], *more]}


def asks(operator: str, value: Any, key: str = "sts:ExternalId") -> dict[str, Any]:
    return trust(Condition={operator: {key: value}})


def also(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {operator: {key: value}} | {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}}


def permissions(*more: Any, **changes: Any) -> dict[str, Any]:
    policy = _changed(documents.permissions_policy(KEY), 0, changes)
    return {**policy, "Statement": [*policy["Statement"], *more]}


def key(*more: Any, **changes: Any) -> dict[str, Any]:
    return _changed(
        {"Version": "2012-10-17", "Statement": [ROOT, documents.key_policy_statement(ROLE), *more]}, 1, changes
    )


def deny(**changes: Any) -> dict[str, Any]:
    return {"Sid": "Guard", "Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*", **changes}


TRUST: list[tuple[str, Any, str, str, str]] = [
    # what, policy, verdict, code, what stands on the line that the finding names
    ("no condition", trust(Condition=LEFT_OUT), "unsafe", "too_wide_no_external_id", "{"),
    ("empty condition", trust(Condition={}), "unsafe", "too_wide_no_external_id", '"Condition"'),
    ("any id", asks("StringLike", "*"), "unsafe", "too_wide_wildcard", "sts:ExternalId"),
    ("id and a star", asks("StringLike", EXTERNAL_ID + "*"), "unsafe", "too_wide_wildcard", "sts:ExternalId"),
    (
        "id but its last letters",
        asks("StringLike", EXTERNAL_ID[:-3] + "???"),
        "unsafe",
        "too_wide_wildcard",
        "sts:ExternalId",
    ),
    ("only if sent", asks("StringEqualsIfExists", EXTERNAL_ID), "unsafe", "too_wide_if_exists", "sts:ExternalId"),
    (
        "for any value",
        asks("ForAnyValue:StringEquals", EXTERNAL_ID),
        "unsafe",
        "too_wide_for_any_value",
        "sts:ExternalId",
    ),
    (
        "for all values",
        asks("ForAllValues:StringEquals", EXTERNAL_ID),
        "unsafe",
        "too_wide_for_all_values",
        "sts:ExternalId",
    ),
    ("a list", asks("StringEquals", [EXTERNAL_ID, "byok-other"]), "unsafe", "too_wide_other_external_id", "byok-other"),
    ("all but one", asks("StringNotEquals", "byok-other"), "unsafe", "too_wide_negated", "sts:ExternalId"),
    ("sent at all", asks("Null", "false"), "unsafe", "too_wide_null", "sts:ExternalId"),
    ("not sent", asks("Null", "true"), "unsafe", "too_wide_null", "sts:ExternalId"),
    ("any case", asks("StringEqualsIgnoreCase", EXTERNAL_ID), "unsafe", "too_wide_ignore_case", "sts:ExternalId"),
    ("two statements", trust(trust(Condition=LEFT_OUT)["Statement"][0]), "unsafe", "too_wide_no_external_id", "{"),
    (
        "two ids in two statements",
        trust(asks("StringEquals", "byok-other")["Statement"][0]),
        "unsafe",
        "too_wide_other_external_id",
        "byok-other",
    ),
    (
        "another condition in place of it",
        asks("StringEquals", "999900001111", "aws:PrincipalAccount"),
        "unsafe",
        "too_wide_no_external_id",
        '"Condition"',
    ),
    ("everybody", trust(Principal="*"), "unsafe", "too_wide_principal", '"Principal"'),
    ("everybody in AWS", trust(Principal={"AWS": ["*"]}), "unsafe", "too_wide_principal", '"Principal"'),
    (
        "all but one principal",
        trust(Principal=LEFT_OUT, NotPrincipal={"AWS": OTHER_ROLE}),
        "unsafe",
        "too_wide_not_principal",
        '"NotPrincipal"',
    ),
    ("account root", trust(Principal={"AWS": "arn:aws:iam::999900001111:root"}), "ok", "account_root", ":root"),
    ("account id", trust(Principal={"AWS": "999900001111"}), "ok", "account_root", '"999900001111"'),
    (
        "account root, no condition",
        trust(Principal={"AWS": "arn:aws:iam::999900001111:root"}, Condition=LEFT_OUT),
        "unsafe",
        "too_wide_no_external_id",
        "{",
    ),
    ("unique id", trust(Principal={"AWS": "AROAEXAMPLEID12345678"}), "incomplete", "stale_principal", "AROA"),
    ("sts:*", trust(Action="sts:*"), "ok", "action_wide", "sts:*"),
    ("all actions", trust(Action=["sts:AssumeRole", "*"]), "ok", "action_wide", '"*"'),
    ("another beside us", trust(Principal={"AWS": [SERVICE, OTHER_ROLE]}), "ok", "other_principal", OTHER_ROLE),
    (
        "another statement",
        trust({"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}),
        "ok",
        "other_principal",
        "ec2",
    ),
    ("StringLike without a wildcard", asks("StringLike", EXTERNAL_ID), "ok", "external_id_operator", "sts:ExternalId"),
    ("a service", trust(Principal={"Service": "ec2.amazonaws.com"}), "incomplete", "principal_kind", '"Principal"'),
    (
        "another case",
        trust(Principal={"AWS": SERVICE.replace("byok", "BYOK")}),
        "incomplete",
        "principal_mismatch",
        "BYOK",
    ),
    (
        "another path",
        trust(Principal={"AWS": SERVICE.replace("role/", "role/x/")}),
        "incomplete",
        "principal_mismatch",
        "/x/",
    ),
    (
        "another account",
        trust(Principal={"AWS": SERVICE.replace("9999", "9998")}),
        "incomplete",
        "principal_mismatch",
        "9998",
    ),
    (
        "another role of ours",
        trust(Principal={"AWS": SERVICE[:-1] + "2"}),
        "incomplete",
        "principal_mismatch",
        "service-2",
    ),
    (
        "a session",
        trust(Principal={"AWS": "arn:aws:sts::999900001111:assumed-role/byok-service-1/x"}),
        "incomplete",
        "principal_mismatch",
        "assumed-role",
    ),
    ("nobody", trust(Principal=LEFT_OUT), "incomplete", "other_kind", "{"),
    ("another id", asks("StringEquals", "byok-other"), "incomplete", "external_id_mismatch", "byok-other"),
    (
        "the id in small letters",
        asks("StringEquals", EXTERNAL_ID.lower()),
        "incomplete",
        "external_id_mismatch",
        "byok-mine",
    ),
    (
        "a blank after the id",
        asks("StringEquals", EXTERNAL_ID + " "),
        "incomplete",
        "external_id_mismatch",
        "sts:ExternalId",
    ),
    ("the id cut off", asks("StringEquals", EXTERNAL_ID[:-4]), "incomplete", "external_id_mismatch", "sts:ExternalId"),
    ("placeholder", asks("StringEquals", "<Provided-External-ID>"), "incomplete", "placeholder", "<Provided"),
    (
        "placeholder of our role",
        trust(Principal={"AWS": "arn:aws:iam::<account-id>:role/<role-name>"}),
        "incomplete",
        "placeholder",
        "<account-id>",
    ),
    (
        "no such condition key",
        asks("StringEquals", EXTERNAL_ID, "aws:ExternalId"),
        "incomplete",
        "condition_key",
        "aws:ExternalId",
    ),
    ("no such operator", asks("StringEqual", EXTERNAL_ID), "incomplete", "condition_operator", "StringEqual"),
    (
        "MFA",
        trust(Condition=also("Bool", "aws:MultiFactorAuthPresent", "true")),
        "incomplete",
        "condition_mfa",
        "MultiFactor",
    ),
    (
        "their addresses",
        trust(Condition=also("IpAddress", "aws:SourceIp", "10.0.0.0/8")),
        "incomplete",
        "condition_source_ip",
        "SourceIp",
    ),
    (
        "their organization",
        trust(Condition=also("StringLike", "aws:PrincipalOrgID", "o-1")),
        "incomplete",
        "condition_organization",
        "OrgID",
    ),
    (
        "a tag",
        trust(Condition=also("StringLike", "aws:PrincipalTag/team", "x")),
        "incomplete",
        "condition_unmet",
        "PrincipalTag",
    ),
    (
        "a day gone by",
        trust(Condition=also("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z")),
        "ok",
        "",
        "",
    ),
    (
        "a day to come",
        trust(Condition=also("DateGreaterThan", "aws:CurrentTime", "2199-01-01T00:00:00Z")),
        "incomplete",
        "condition_unmet",
        "CurrentTime",
    ),
    ("a denial", trust(deny(Action="sts:AssumeRole", Resource=LEFT_OUT)), "incomplete", "explicit_deny", "{"),
    ("another action", trust(Action="sts:AssumeRoleWithSAML"), "incomplete", "missing_action", '"Action"'),
    ("no such action", trust(Action="sts:AsumeRole"), "incomplete", "action_unknown", "AsumeRole"),
    (
        "an action of KMS beside",
        trust(Action=["sts:AssumeRole", "kms:Decrypt"]),
        "incomplete",
        "action_of_another_service",
        "kms:Decrypt",
    ),
    ("NotAction", trust(Action=LEFT_OUT, NotAction="sts:TagSession"), "ok", "not_action", "NotAction"),
    ("a Resource", trust(Resource="*"), "incomplete", "resource_in_trust", '"Resource"'),
    ("a Sid with blanks", trust(Sid="Kore ai"), "incomplete", "sid", '"Sid"'),
    ("Effect in small letters", trust(Effect="allow"), "incomplete", "effect", '"Effect"'),
    ("no Effect", trust(Effect=LEFT_OUT), "incomplete", "effect", "{"),
    ("a denial by mistake", trust(Effect="Deny"), "incomplete", "explicit_deny", "{"),
    ("no such Version", {**trust(), "Version": "2012-10-18"}, "incomplete", "version", '"Version"'),
    ("the old Version", {**trust(), "Version": "2008-10-17"}, "incomplete", "version", '"Version"'),
    ("no Version", {"Statement": trust()["Statement"]}, "incomplete", "version", "{"),
    ("one statement without a list", {**trust(), "Statement": trust()["Statement"][0]}, "ok", "", ""),
    ("no statement", {**trust(), "Statement": []}, "incomplete", "statement_missing", '"Statement"'),
    (
        "a statement that is none",
        {**trust(), "Statement": [*trust()["Statement"], "x"]},
        "incomplete",
        "statement",
        '"x"',
    ),
    (
        "an element in small letters",
        json.dumps(trust(), indent=1).replace('"Action"', '"action"'),
        "incomplete",
        "element_name",
        '"action"',
    ),
    ("an element that is none", trust(Comment="x"), "incomplete", "element_unknown", '"Comment"'),
    (
        "a kind of principal that is none",
        trust(Principal={"Aws": SERVICE}),
        "incomplete",
        "principal_malformed",
        '"Aws"',
    ),
    ("a principal without its kind", trust(Principal=SERVICE), "incomplete", "principal_malformed", '"Principal"'),
    ("two Sids", trust({"Sid": "A", **trust()["Statement"][0]}, Sid="A"), "incomplete", "sid_twice", '"Sid"'),
    ("a permissions policy", permissions(), "incomplete", "other_kind", "{"),
    ("a key policy", key(), "incomplete", "other_kind", '"Action"'),
    (
        "too large",
        trust(
            *[
                {**deny(Resource=LEFT_OUT, Action="sts:TagSession"), "Sid": f"S{n}", "Principal": {"AWS": OTHER_ROLE}}
                for n in range(20)
            ]
        ),
        "incomplete",
        "too_large",
        "",
    ),
]

PERMISSIONS: list[tuple[str, Any, str, str, str]] = [
    ("kms:*", permissions(Action="kms:*"), "ok", "wider_than_needed", '"Action"'),
    ("every key", permissions(Resource="*"), "ok", "wider_than_needed", '"Resource"'),
    ("two keys", permissions(Resource=[KEY, OTHER_KEY]), "ok", "wider_than_needed", OTHER_KEY),
    ("an administrator", permissions(Action="*", Resource="*"), "unsafe", "too_wide_permissions", '"Action"'),
    (
        "NotAction",
        permissions(Action=LEFT_OUT, NotAction="iam:*", Resource="*"),
        "unsafe",
        "too_wide_permissions",
        '"NotAction"',
    ),
    (
        "an alias",
        permissions(Resource="arn:aws:kms:eu-central-1:111122223333:alias/x"),
        "incomplete",
        "alias_in_resource",
        "alias",
    ),
    (
        "another Region",
        permissions(Resource=KEY.replace("eu-central-1", "us-east-1")),
        "incomplete",
        "wrong_resource",
        "us-east-1",
    ),
    ("another account", permissions(Resource=KEY.replace("2222", "2223")), "incomplete", "wrong_resource", "2223"),
    ("another key", permissions(Resource=[OTHER_KEY]), "incomplete", "wrong_resource", OTHER_KEY),
    ("the bare id", permissions(Resource=KEY.rpartition("/")[2]), "incomplete", "resource_malformed", '"Resource"'),
    ("placeholder", permissions(Resource="<your-cmk-arn>"), "incomplete", "placeholder", "<your-cmk-arn>"),
    (
        "an action missing",
        permissions(Action=[each for each in ALL if each != "kms:Decrypt"]),
        "incomplete",
        "missing_action",
        '"Action"',
    ),
    (
        "half of ReEncrypt",
        permissions(Action=[each.replace("ReEncrypt*", "ReEncryptFrom") for each in ALL]),
        "incomplete",
        "missing_action",
        '"Action"',
    ),
    (
        "no such action",
        permissions(Action=[each.replace("Generate", "Genrate") for each in ALL]),
        "incomplete",
        "action_unknown",
        "Genrate",
    ),
    (
        "no service",
        permissions(Action=[each.replace("kms:Gen", "Gen") for each in ALL]),
        "incomplete",
        "action_malformed",
        '"GenerateDataKey*"',
    ),
    (
        "another letter case",
        permissions(Action=[each.replace("GenerateDataKey", "GenerateDatakey") for each in ALL]),
        "ok",
        "",
        "",
    ),
    (
        "one statement each",
        {
            **permissions(),
            "Statement": [permissions(Action=each, Sid=f"S{n}")["Statement"][0] for n, each in enumerate(ALL)],
        },
        "ok",
        "",
        "",
    ),
    (
        "a denial",
        permissions({"Effect": "Deny", "Action": "kms:Decrypt", "Resource": "*"}),
        "incomplete",
        "explicit_deny",
        "{",
    ),
    (
        "a denial without TLS",
        permissions(
            {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        ),
        "ok",
        "",
        "",
    ),
    (
        "a denial of all else",
        permissions({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"}),
        "incomplete",
        "explicit_deny",
        '"NotAction"',
    ),
    (
        "through a service",
        permissions(Condition={"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}),
        "incomplete",
        "condition_via_service",
        "ViaService",
    ),
    (
        "their endpoint",
        permissions(Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
        "incomplete",
        "condition_source_vpce",
        "SourceVpce",
    ),
    (
        "their addresses",
        permissions(Condition={"IpAddress": {"aws:SourceIp": ["10.0.0.0/8"]}}),
        "incomplete",
        "condition_source_ip",
        "SourceIp",
    ),
    ("everybody's addresses", permissions(Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}), "ok", "", ""),
    (
        "an encryption context",
        permissions(Condition={"StringEquals": {"kms:EncryptionContext:app": "x"}}),
        "incomplete",
        "condition_encryption_context",
        "EncryptionContext",
    ),
    (
        "an organization",
        permissions(Condition={"StringEquals": {"aws:ResourceOrgID": "o-1"}}),
        "ok",
        "condition_unseen",
        "OrgID",
    ),
    (
        "nothing about the key",
        permissions(Action="s3:GetObject", Resource="arn:aws:s3:::mine/*", Sid=LEFT_OUT),
        "incomplete",
        "missing_statement",
        '"Statement"',
    ),
    ("NotResource", permissions(Resource=LEFT_OUT, NotResource=KEY), "incomplete", "not_resource", "NotResource"),
    ("no Resource", permissions(Resource=LEFT_OUT), "incomplete", "resource_missing", "{"),
    ("Effect Deny", permissions(Effect="Deny"), "incomplete", "explicit_deny", "{"),
    ("a Sid with blanks", permissions(Sid="Allow KMS"), "incomplete", "sid", '"Sid"'),
    ("a trust policy", trust(), "incomplete", "other_kind", '"Principal"'),
    ("a key policy", key(), "incomplete", "other_kind", '"Principal"'),
    (
        "too large",
        permissions(Resource=[KEY, *(f"arn:aws:kms:eu-central-1:111122223333:key/{n:036d}" for n in range(90))]),
        "incomplete",
        "too_large",
        "",
    ),
]

KEYS: list[tuple[str, Any, str, str, str]] = [
    ("the account alone", {**key(), "Statement": [ROOT]}, "incomplete", "missing_statement", '"Statement"'),
    (
        "we alone",
        {**key(), "Statement": [documents.key_policy_statement(ROLE)]},
        "incomplete",
        "lock_out",
        '"Statement"',
    ),
    ("nobody may change it", key(deny(Action="kms:PutKeyPolicy")), "incomplete", "lock_out", '"Statement"'),
    (
        "everybody",
        {**key(), "Statement": [{**ROOT, "Principal": "*"}, key()["Statement"][1]]},
        "unsafe",
        "too_wide_principal",
        '"Principal"',
    ),
    (
        "everybody through S3",
        key(
            {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}},
            }
        ),
        "unsafe",
        "too_wide_principal",
        '"Principal"',
    ),
    (
        "the account through S3",
        key(
            {
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": {
                    "StringEquals": {
                        "kms:ViaService": "s3.eu-central-1.amazonaws.com",
                        "kms:CallerAccount": "111122223333",
                    }
                },
            }
        ),
        "ok",
        "",
        "",
    ),
    (
        "all but one",
        key({"Effect": "Allow", "NotPrincipal": {"AWS": OTHER_ROLE}, "Action": "kms:Decrypt", "Resource": "*"}),
        "unsafe",
        "too_wide_not_principal",
        '"NotPrincipal"',
    ),
    (
        "a denial of all but one",
        key(deny(Principal=LEFT_OUT) | {"NotPrincipal": {"AWS": ROOT["Principal"]["AWS"]}}),
        "incomplete",
        "not_principal",
        '"NotPrincipal"',
    ),  # type: ignore[index]
    ("a denial", key(deny(Action="kms:Decrypt")), "incomplete", "explicit_deny", "{"),
    (
        "a denial outside their network",
        key(deny(Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})),
        "incomplete",
        "explicit_deny",
        "{",
    ),
    (
        "a denial outside their organization",
        key(
            deny(
                Condition={
                    "StringNotEquals": {"aws:PrincipalOrgID": "o-1"},
                    "Bool": {"aws:PrincipalIsAWSService": "false"},
                }
            )
        ),
        "ok",
        "condition_unseen",
        "OrgID",
    ),
    ("another letter case", key(Principal={"AWS": ROLE.lower()}), "incomplete", "principal_mismatch", "aiforwork"),
    (
        "another path",
        key(Principal={"AWS": ROLE.replace("role/", "role/x/")}),
        "incomplete",
        "principal_mismatch",
        "/x/",
    ),
    ("our service role", key(Principal={"AWS": SERVICE}), "incomplete", "names_our_role", SERVICE),
    (
        "a session",
        key(Principal={"AWS": "arn:aws:sts::111122223333:assumed-role/AIforWorkByokAccessRole/x"}),
        "incomplete",
        "principal_mismatch",
        "assumed-role",
    ),
    ("a service", key(Principal={"Service": "s3.amazonaws.com"}), "incomplete", "principal_kind", '"Principal"'),
    ("a unique id", key(Principal={"AWS": "AROAEXAMPLEID12345678"}), "incomplete", "principal_mismatch", "AROA"),
    ("placeholder", key(Principal={"AWS": "<your-role-arn>"}), "incomplete", "placeholder", "<your-role-arn>"),
    ("the key's ARN", key(Resource=KEY), "ok", "key_resource", '"Resource"'),
    ("another key's ARN", key(Resource=OTHER_KEY), "incomplete", "key_resource", '"Resource"'),
    ("no Resource", key(Resource=LEFT_OUT), "incomplete", "resource_missing", "{"),
    ("no Action", key(Action=LEFT_OUT), "incomplete", "action_missing", "{"),
    ("an action missing", key(Action=ALL[1:]), "incomplete", "missing_action", '"Action"'),
    ("too many actions", key(Action="kms:*"), "ok", "wider_than_needed", '"Action"'),
    (
        "through a service",
        key(Condition={"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}),
        "incomplete",
        "condition_via_service",
        "ViaService",
    ),
    (
        "their endpoint",
        key(Condition={"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
        "incomplete",
        "condition_source_vpce",
        "SourceVpce",
    ),
    (
        "MFA",
        key(Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
        "incomplete",
        "condition_mfa",
        "MultiFactor",
    ),
    ("another role beside", key(Principal={"AWS": [ROLE, OTHER_ROLE]}), "ok", "", ""),
    ("the old Version", {**key(), "Version": "2008-10-17"}, "ok", "version", '"Version"'),
    ("a Sid with blanks", key(Sid="Kore access"), "ok", "", ""),
    ("a trust policy", trust(), "incomplete", "other_kind", '"Action"'),
    ("a permissions policy", permissions(), "incomplete", "other_kind", "{"),
    (
        "too many statements",
        key(*[deny(Action="s3:*", Sid=f"S{n}") for n in range(130)]),
        "incomplete",
        "too_many_statements",
        '"Statement"',
    ),
    ("too large", key(Principal={"AWS": [ROLE, *(f"{ROLE}{n}" for n in range(600))]}), "incomplete", "too_large", ""),
]

CASES = (
    [("trust", *row) for row in TRUST]
    + [("permissions", *row) for row in PERMISSIONS]
    + [("key", *row) for row in KEYS]
)


@pytest.mark.parametrize(("kind", "policy"), [("trust", trust()), ("permissions", permissions()), ("key", key())])
def test_the_guides_own_documents_are_ok_and_come_back_as_they_are(kind: str, policy: Any) -> None:
    for text in (json.dumps(policy, indent=2), json.dumps(policy, indent="\t"), json.dumps(policy, indent=4)):
        reading = read(kind, text)
        assert (reading.verdict, reading.findings, reading.corrected) == ("ok", [], text)
    assert read(kind, json.dumps(policy)).verdict == "ok"


@pytest.mark.parametrize(("kind", "what", "policy", "verdict", "code", "marked"), CASES)
def test_a_flaw_is_named_on_its_line_and_mended(
    kind: str, what: str, policy: Any, verdict: str, code: str, marked: str
) -> None:
    text = policy if isinstance(policy, str) else json.dumps(without(policy), indent=2)
    reading = read(kind, text)
    assert reading.verdict == verdict, reading.findings
    codes = [finding.code for finding in reading.findings]
    assert (code in codes) if code else not codes, codes
    for finding in reading.findings:
        assert finding.text.endswith((".", "!"))
        assert finding.fix.endswith((".", "!"))
        if finding.code == code:
            assert marked in text.splitlines()[finding.line - 1]
    corrected = added(kind, reading)
    assert read(kind, corrected).verdict == "ok", reading.corrected
    assert read(kind, read(kind, corrected).corrected).findings == read(kind, corrected).findings


def added(kind: Any, reading: pasted.PastedPolicy) -> str:
    """Return the corrected document; of the bare statement to add, what it becomes in the least of policies."""
    found = json.loads(reading.corrected)
    is_bare = "Statement" not in found
    assert is_bare == any(each.code == "statement_alone" for each in reading.findings), reading.findings
    if not is_bare:
        return reading.corrected
    return json.dumps({"Version": "2012-10-17", "Statement": [*([ROOT] if kind == "key" else []), found]})


def without(policy: Any) -> Any:
    """Return a policy without what is marked as left out in statements that were built by hand."""
    statements = policy["Statement"]
    if isinstance(statements, list):
        statements = [
            {k: v for k, v in each.items() if v is not LEFT_OUT} if isinstance(each, dict) else each
            for each in statements
        ]
    return {**policy, "Statement": statements}


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", 1),
        ("   \n ", "empty", 1),
        ("{", "not_json", 1),
        ("not json", "not_json", 1),
        ("null", "no_statement", 1),
        ("[]", "no_statement", 1),
        ('"x"', "no_statement", 1),
        ('{"Version": "2012-10-17"}', "no_statement", 1),
        ('{"Statement": 5}', "no_statement", 1),
        ('{"Policy": {"Arn": "arn:aws:iam::111122223333:policy/P"}}', "no_statement", 1),
        ('{"a": NaN, "Statement": []}', "not_json", 1),
        ('{"a": 1e999, "Statement": []}', "not_json", 1),
        ('{"Statement": [\n  {"Effect": "Allow",}\n]}', "not_json", 2),
        ('{"Statement": [\n  {"Effect": "Allow"}\n  {"Effect": "Deny"}\n]}', "not_json", 2),
        ('{"Statement": [\n\n// ours\n]}', "not_json", 3),
        ('{"Statement": [\n\n# ours\n]}', "not_json", 3),
        ('{"Statement": [\n{"Effect": "Allow"', "not_json", 2),
        ('{"Statement": []}\n{"Statement": []}', "not_json", 2),
        ('{"Statement": []\n}}', "not_json", 2),
        ("{'Statement': []}", "not_json", 1),
        ("{\n Statement: []}", "not_json", 2),
        ('{"Statement": [\n{"Sid": "a\nb"}]}', "not_json", 2),
        ('{"Statement": [{"x": True}]}', "not_json", 1),
        ('{"Version": "x",\n"Version": "y", "Statement": []}', "duplicate_key", 2),
        ('{"Statement": [{"Effect": "Allow",\n"Action": "a:b",\n"Action": "c:d"}]}', "duplicate_key", 3),
        ("{“Version”: “2012-10-17”, “Statement”: []}", "smart_quotes", 1),
        ('{"Statement":\n [{"Sid": "“mine”"}]}', "smart_quotes", 2),
        ('{"Statement":\n\u00a0[]}', "character", 2),
        ('{"Statement": [{"Sid":\n"a\u200b"}]}', "character", 2),
        ('{"Statement": [{"Sid":\n"\x7f"}]}', "character", 2),
        ('\ufeff{"Statement": []}', "byte_order_mark", 1),
        ("[" * 50_000, "too_deep", 1),
        ("[" * 100_000, "too_long", 1),
        ('{"Statement": [' + "1," * 5_000 + "1]}", "too_many_elements", 1),
        ("{" * 3 + '"a"', "not_json", 1),
        ('{"Effect": "Allow"}', "statement_only", 1),
        ('[\n{"Effect": "Allow"}]', "statement_only", 1),
    ],
)
def test_what_aws_would_not_take_as_a_policy_is_unreadable(text: str, code: str, line: int) -> None:
    for kind in ("trust", "permissions", "key"):
        reading = read(kind, text)
        assert reading.verdict == "unreadable", reading.findings
        assert (code, line) in {(finding.code, finding.line) for finding in reading.findings}, reading.findings
        assert read(kind, added(kind, reading)).verdict == "ok"


GOOD = json.dumps(trust())


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Policy": json.dumps(trust(), indent=2), "PolicyName": "default"}),
        json.dumps({"Role": {"RoleName": "R", "AssumeRolePolicyDocument": trust()}}, indent=4),
        json.dumps({"AssumeRolePolicyDocument": trust()}),
        json.dumps(GOOD),
        json.dumps({"PolicyVersion": {"Document": trust(), "VersionId": "v1"}}),
        "%7B%22Version%22%3A%222012-10-17%22%2C" + GOOD.split(",", 1)[1].replace('"', "%22"),
        f"\n\n  {GOOD}\n",
        json.dumps(trust(), indent=2).replace("\n", "\r\n"),
    ],
)
def test_the_policy_is_read_out_of_what_the_cli_answers(text: str) -> None:
    reading = read("trust", text)
    assert (reading.verdict, reading.findings) == ("ok", [])
    assert json.loads(reading.corrected) == trust()


def test_lines_are_those_of_the_paste_inside_an_answer_too() -> None:
    policy = trust(Sid="Condition sts:ExternalId Principal", Condition={"StringLike": {"sts:ExternalId": "*"}})
    answer = json.dumps({"Role": {"Arn": ROLE, "AssumeRolePolicyDocument": policy}}, indent=4)
    (wide,) = [each for each in read("trust", answer).findings if each.code == "too_wide_wildcard"]
    assert '"sts:ExternalId": "*"' in answer.splitlines()[wide.line - 1]
    escaped = '{\n"PolicyName": "default",\n"Policy": ' + json.dumps(json.dumps(policy, indent=2)) + "}"
    assert {finding.line for finding in read("trust", escaped).findings} == {3}


def test_the_key_policy_keeps_what_is_theirs_to_the_letter() -> None:
    theirs = """{
    "Id": "mine",
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "Root", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "kms:*", "Resource": "*"},
        {
            "Resource": "*", "Action": [ "kms:Decrypt",  "kms:Encrypt" ],
            "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111122223333:role/Grüße"]}
        }
    ]
}"""
    corrected = read("key", theirs).corrected
    for line in theirs.splitlines()[:8]:
        assert line in corrected
    assert json.loads(corrected) == {
        **json.loads(theirs),
        "Statement": [*json.loads(theirs)["Statement"], documents.key_policy_statement(ROLE)],
    }


@pytest.mark.parametrize(
    "policy",
    [row[1] for row in KEYS if row[3] not in {"other_kind", "too_large", "too_many_statements"}],
    ids=[row[0] for row in KEYS if row[3] not in {"other_kind", "too_large", "too_many_statements"}],
)
def test_no_other_statement_of_a_key_policy_is_lost(policy: Any) -> None:
    backup = {
        "Sid": "Backup",
        "Effect": "Allow",
        "Principal": {"AWS": OTHER_ROLE},
        "Action": "kms:Decrypt",
        "Resource": "*",
    }
    theirs = without({**policy, "Statement": [*policy["Statement"], backup]})
    corrected = json.loads(read("key", theirs).corrected)["Statement"]
    assert backup in corrected
    sids = [each.get("Sid") for each in corrected]
    assert all(each["Sid"] in sids for each in theirs["Statement"] if "Sid" in each)


def test_a_key_policy_with_slips_of_the_pen_is_merged_all_the_same() -> None:
    text = (
        json.dumps({**key(), "Statement": [ROOT]}, indent=2)
        .replace('"kms:*",', '"kms:*"  // all of it')
        .replace("\n    }\n", "\n    },\n")
    )
    reading = read("key", text)
    assert reading.verdict == "unreadable"
    assert json.loads(reading.corrected) == key()


def test_others_keep_their_place_in_a_trust_policy() -> None:
    break_glass = {
        "Sid": "Admins",
        "Effect": "Allow",
        "Principal": {"AWS": OTHER_ROLE},
        "Action": "sts:AssumeRole",
        "Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    }
    wrong = {"Sid": "Kore", **asks("StringLike", "*")["Statement"][0]}
    corrected = json.loads(read("trust", {"Version": "2012-10-17", "Statement": [break_glass, wrong]}).corrected)
    assert corrected["Statement"] == [break_glass, {"Sid": "Kore", **trust()["Statement"][0]}]


def test_a_denial_is_opened_for_us_alone() -> None:
    guard = deny(Condition={"StringNotEquals": {"aws:SourceVpce": "vpce-1"}})
    corrected = json.loads(read("key", key(guard)).corrected)
    assert corrected["Statement"][2] == {
        **guard,
        "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}, "ArnNotEquals": {"aws:PrincipalArn": ROLE}},
    }


def test_arns_that_are_not_given_yet_are_taken_from_the_policy_or_asked_for() -> None:
    assert read("permissions", permissions(), key_arn="", role_arn="").verdict == "ok"
    assert read("key", key(), key_arn="", role_arn="").verdict == "ok"
    assert read("permissions", permissions(Action=ALL[1:]), key_arn="").verdict == "incomplete"
    for kind, policy in (("permissions", permissions(Resource="<your-cmk-arn>")), ("key", key(Principal={"AWS": "x"}))):
        reading = read(kind, policy, key_arn="", role_arn="")
        assert reading.verdict == "incomplete"
        assert "arn_missing" in {finding.code for finding in reading.findings}


def test_an_external_id_of_another_shape_and_another_partition() -> None:
    values = Values(
        Access.of_texts(
            tenant="",
            service_role_arn=SERVICE.replace(":aws:", ":aws-us-gov:"),
            external_id="abc",
            role_arn=ROLE.replace(":aws:", ":aws-us-gov:"),
            key_arn=KEY.replace(":aws:", ":aws-us-gov:").replace("eu-central-1", "us-gov-west-1"),
        )
    )
    for kind in ("trust", "permissions", "key"):
        corrected = pasted.lint(kind, "{}", values).corrected  # type: ignore[arg-type]
        assert pasted.lint(kind, corrected, values).verdict == "ok"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "policy", "expected"),
    [
        ("trust", trust(), ["sts:AssumeRole"]),
        ("trust", asks("StringEquals", "x"), []),
        ("permissions", permissions(Action=ALL[1:]), ALL[1:]),
        ("key", key(), ALL),
        ("key", {**key(), "Statement": [ROOT]}, []),
        ("key", "{", []),
    ],
)
def test_what_it_grants_us(kind: Any, policy: Any, expected: list[str]) -> None:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    found = pasted.granted(kind, text, VALUES)
    assert [name for name, how in found.items() if how == "given"] == expected


# --- while one registration replaces another ---------------------------------------------------------------------

NEXT_ROLE = documents.Beside(roles=(OTHER_ROLE,))  # the role that serves; ROLE is to take over
BOTH = {"AWS": [ROLE, OTHER_ROLE]}
AUDIT = {
    "Sid": "Audit",
    "Effect": "Allow",
    "Principal": {"AWS": ROLE + "Audit"},
    "Action": "kms:DescribeKey",
    "Resource": "*",
}
OF_THE_OLD = {**documents.key_policy_statement(OTHER_ROLE), "Sid": "Old"}


@pytest.mark.parametrize(
    ("policy", "codes", "corrected"),
    [
        (key(), {"replaced_role_missing"}, key(Principal=BOTH)),
        (key(Principal={"AWS": OTHER_ROLE}), {"principal_mismatch"}, key(Principal=BOTH)),
        (key(Principal=BOTH), set(), key(Principal=BOTH)),
        (key(Principal={"AWS": [OTHER_ROLE, ROLE]}), set(), key(Principal={"AWS": [OTHER_ROLE, ROLE]})),
        (key(OF_THE_OLD), set(), key(OF_THE_OLD)),
        (
            key({**OF_THE_OLD, "Action": ALL[1:]}),
            {"replaced_role_missing"},
            key({**OF_THE_OLD, "Action": ALL[1:]}, Principal=BOTH),
        ),
        (key(AUDIT), {"replaced_role_missing"}, key(AUDIT, Principal=BOTH)),
        (without({**key(), "Statement": [ROOT]}), {"missing_statement", "replaced_role_missing"}, key(Principal=BOTH)),
        (
            key(deny(Principal={"AWS": OTHER_ROLE}), Principal=BOTH),
            {"replaced_role_missing"},
            key(
                deny(
                    Principal={"AWS": OTHER_ROLE}, Condition={"ArnNotEquals": {"aws:PrincipalArn": [ROLE, OTHER_ROLE]}}
                ),
                Principal=BOTH,
            ),
        ),
        (
            key(Principal={"AWS": [ROLE, ROLE + "Audit"]}),
            {"replaced_role_missing"},
            {
                **key(),
                "Statement": [
                    ROOT,
                    {**key()["Statement"][1], "Principal": {"AWS": ROLE + "Audit"}},
                    {**without(key(Principal=BOTH, Sid=LEFT_OUT))["Statement"][1]},
                ],
            },
        ),
    ],
    ids=[
        "new alone",
        "old alone",
        "both",
        "the other way round",
        "each its own",
        "old has less",
        "somebody else",
        "neither",
        "old denied",
        "new and another",
    ],
)
def test_while_one_role_replaces_another_the_key_policy_has_to_name_both(
    policy: Any, codes: set[str], corrected: Any
) -> None:
    reading = pasted.lint("key", json.dumps(policy), replace(VALUES, beside=NEXT_ROLE))
    assert {each.code for each in reading.findings} == codes
    assert reading.verdict == ("incomplete" if codes else "ok")
    assert json.loads(reading.corrected) == corrected
    fixes = "".join(
        each.fix for each in reading.findings if each.code in {"replaced_role_missing", "principal_mismatch"}
    )
    assert not fixes or json.dumps(BOTH) in fixes  # what is told in words leaves the old one in too


def test_what_cannot_be_kept_is_replaced_by_a_document_that_names_both() -> None:
    assert json.loads(pasted.lint("key", "nothing of it", replace(VALUES, beside=NEXT_ROLE)).corrected) == key(
        Principal=BOTH
    )
    next_key = documents.Beside(keys=(OTHER_KEY,))
    reading = pasted.lint("permissions", json.dumps(permissions(Resource=OTHER_KEY)), replace(VALUES, beside=next_key))
    assert json.loads(reading.corrected) == permissions(Resource=[OTHER_KEY, KEY])
    assert [each.fix for each in reading.findings] == [f'Write "Resource": ["{OTHER_KEY}", "{KEY}"].']


def test_the_role_that_is_replaced_is_nobody_who_could_change_the_key_policy() -> None:
    policy = {**key(), "Statement": [{**key()["Statement"][1], "Principal": BOTH, "Action": "kms:*"}]}
    assert "lock_out" in {
        each.code for each in pasted.lint("key", json.dumps(policy), replace(VALUES, beside=NEXT_ROLE)).findings
    }
