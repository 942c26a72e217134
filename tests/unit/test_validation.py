"""Step 4: the commands filled in, and every output that they can have, read for what it means."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_linter import EXTERNAL_ID, KEY, OTHER_KEY, ROLE, SERVICE, key, permissions, trust

from keys import actions
from keys.access import Access
from keys.arns import KeyArn, RoleArn
from keys.proof.pasted.findings import Values
from keys.proof.pasted.outputs import commands, recognition

VALUES = Values(
    Access.of_texts(tenant="t-1", service_role_arn=SERVICE, external_id=EXTERNAL_ID, role_arn=ROLE, key_arn=KEY)
)
NAME = ROLE.rpartition("/")[2]
SECRET = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
SESSION = {
    "Credentials": {
        "AccessKeyId": "ASIA" + "IOSFODNN7EXAMPLE",
        "SecretAccessKey": SECRET,
        "SessionToken": "FwoGZXIvYXdzEBYaD" * 12,
        "Expiration": "2026-01-01T00:00:00Z",
    },
    "AssumedRoleUser": {
        "AssumedRoleId": "AROAEXAMPLEID12345678:test-session",
        "Arn": f"arn:aws:sts::111122223333:assumed-role/{NAME}/test-session",
    },
}


def role(**changes: Any) -> str:
    described = {
        "Path": "/",
        "RoleName": NAME,
        "RoleId": "AROAEXAMPLEID12345678",
        "Arn": ROLE,
        "AssumeRolePolicyDocument": trust(),
        "MaxSessionDuration": 3600,
        **changes,
    }
    return json.dumps({"Role": described}, indent=4)


def described_key(**changes: Any) -> str:
    described = {
        "AWSAccountId": "111122223333",
        "KeyId": KEY.rpartition("/")[2],
        "Arn": KEY,
        "Enabled": True,
        "KeyState": "Enabled",
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "Origin": "AWS_KMS",
        "MultiRegion": False,
        **changes,
    }
    return json.dumps({"KeyMetadata": described}, indent=4)


def simulated(*changes: tuple[str, dict[str, Any]], but: str = "") -> str:
    results = [
        {"EvalActionName": action, "EvalResourceName": KEY, "EvalDecision": "allowed", **dict(changes).get(action, {})}
        for action in commands.simulated(actions.GUIDE)
        if action != but
    ]
    return json.dumps({"EvaluationResults": results, "IsTruncated": False})


def denied(operation: str, action: str, resource: str, code: str = "AccessDenied") -> str:
    return (
        f"\nAn error occurred ({code}) when calling the {operation} operation: User: "
        f"arn:aws:iam::111122223333:user/bob is not authorized to perform: {action} on resource: {resource}"
    )


OUTPUTS = [
    # output, command, verdict, codes of the points that are not good
    (denied("AssumeRole", "sts:AssumeRole", ROLE), "assume-role", "good", []),
    (
        (
            "An error occurred (AccessDenied) when calling the AssumeRole operation: "
            "Not authorized to perform sts:AssumeRole"
        ),
        "assume-role",
        "good",
        [],
    ),
    (denied("AssumeRole", "sts:AssumeRole", ROLE + "2"), "assume-role", "unclear", []),
    (json.dumps(SESSION), "assume-role", "bad", ["trust_too_wide"]),
    (json.dumps(SESSION).replace(NAME, "Another"), "assume-role", "unclear", []),
    (
        "ASSUMEDROLEUSER\tarn:aws:sts::111122223333:assumed-role/"
        + NAME
        + "/test-session\tAROA:x\nCREDENTIALS\tASIA"
        + "IOSFODNN7EXAMPLE\t2026\t"
        + SECRET,
        "assume-role",
        "bad",
        ["trust_too_wide"],
    ),
    ("AKIA" + "IOSFODNN7EXAMPLE", "", "unclear", []),
    (
        (
            "An error occurred (ExpiredToken) when calling the AssumeRole operation: "
            "The security token included in the request is expired"
        ),
        "assume-role",
        "unclear",
        [],
    ),
    (
        "An error occurred (ValidationError) when calling the AssumeRole operation: arn:aws:iam::1:role is invalid",
        "assume-role",
        "unclear",
        ["role_arn_malformed", "role_arn_is_not_a_role"],
    ),
    ('Unable to locate credentials. You can configure credentials by running "aws configure".', "", "unclear", []),
    ("bash: aws: command not found", "", "unclear", []),
    (role(), "get-role", "good", []),
    (role(Arn=ROLE.replace("AIfor", "aifor")), "get-role", "bad", ["role_arn"]),
    (role(Arn=ROLE.replace("role/", "role/app/")), "get-role", "bad", ["role_arn"]),
    (role(Arn=ROLE.replace("AIforWork", "Other")), "get-role", "bad", ["role_arn"]),
    (role(MaxSessionDuration=600), "get-role", "bad", ["max_session"]),
    (
        role(PermissionsBoundary={"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/B"}),
        "get-role",
        "unclear",
        ["permissions_boundary"],
    ),
    (role(AssumeRolePolicyDocument=trust(Condition={})), "get-role", "bad", ["trust_policy"]),
    (json.dumps(trust()), "get-role", "good", []),
    (json.dumps(trust(Principal="*")), "get-role", "bad", ["trust_policy"]),
    (
        "An error occurred (NoSuchEntity) when calling the GetRole operation: The role with name X cannot be found.",
        "get-role",
        "bad",
        ["not_found"],
    ),
    (denied("GetRole", "iam:GetRole", ROLE), "get-role", "unclear", []),
    (simulated(), "simulate-principal-policy", "good", []),
    (
        simulated(("kms:Decrypt", {"EvalDecision": "implicitDeny"})),
        "simulate-principal-policy",
        "bad",
        ["missing_action"],
    ),
    (
        simulated(
            ("kms:Decrypt", {"EvalDecision": "explicitDeny", "MatchedStatements": [{"SourcePolicyId": "Guard"}]})
        ),
        "simulate-principal-policy",
        "bad",
        ["explicit_deny"],
    ),
    (
        simulated(
            (
                "kms:Encrypt",
                {
                    "EvalDecision": "implicitDeny",
                    "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
                },
            )
        ),
        "simulate-principal-policy",
        "bad",
        ["permissions_boundary"],
    ),
    (
        simulated(
            (
                "kms:Encrypt",
                {"EvalDecision": "implicitDeny", "OrganizationsDecisionDetail": {"AllowedByOrganizations": False}},
            )
        ),
        "simulate-principal-policy",
        "bad",
        ["organization"],
    ),
    (
        simulated(("kms:Encrypt", {"EvalResourceName": OTHER_KEY})),
        "simulate-principal-policy",
        "unclear",
        ["other_key"],
    ),
    (simulated(but="kms:ReEncryptTo"), "simulate-principal-policy", "unclear", ["not_simulated"]),
    (described_key(), "describe-key", "good", []),
    (described_key(KeyState="Disabled", Enabled=False), "describe-key", "bad", ["key_state"]),
    (
        described_key(KeyState="PendingDeletion", DeletionDate="2026-12-01T00:00:00+00:00"),
        "describe-key",
        "bad",
        ["key_state"],
    ),
    (described_key(KeyState="Creating"), "describe-key", "unclear", ["key_state"]),
    (described_key(KeyManager="AWS"), "describe-key", "bad", ["key_manager"]),
    (described_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY"), "describe-key", "bad", ["key_spec", "key_usage"]),
    (
        described_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC"),
        "describe-key",
        "bad",
        ["key_spec", "key_usage"],
    ),
    (described_key(Arn=KEY.replace("eu-central-1", "us-east-1")), "describe-key", "bad", ["key_arn"]),
    (described_key(Arn=OTHER_KEY), "describe-key", "bad", ["key_arn"]),
    (described_key(Origin="EXTERNAL", ValidTo="2027-01-01T00:00:00Z"), "describe-key", "unclear", ["key_material"]),
    (described_key(MultiRegion=True), "describe-key", "good", []),
    (
        "An error occurred (NotFoundException) when calling the DescribeKey operation: Key 'x' does not exist",
        "describe-key",
        "bad",
        ["not_found"],
    ),
    (denied("DescribeKey", "kms:DescribeKey", KEY, "AccessDeniedException"), "describe-key", "unclear", []),
    (json.dumps({"Policy": json.dumps(key()), "PolicyName": "default"}), "get-key-policy", "good", []),
    (json.dumps(key(), indent=2), "get-key-policy", "good", []),
    (json.dumps(key(Action="kms:Decrypt")), "get-key-policy", "bad", ["key_policy"]),
    (json.dumps(permissions()), "", "good", []),
    (
        json.dumps({"UserId": "AIDA", "Account": "111122223333", "Arn": "arn:aws:iam::111122223333:user/bob"}),
        "get-caller-identity",
        "unclear",
        [],
    ),
    ("-----\n|  DescribeKey  |\n||  KeyMetadata  ||", "", "unclear", []),
    ("hello", "", "unclear", []),
    ("", "", "unclear", []),
    ("x" * 70_000, "", "unclear", []),
    ("[1, 2]", "", "unclear", []),
    ("{}", "", "unclear", []),
]


@pytest.mark.parametrize(("output", "command", "verdict", "codes"), OUTPUTS)
def test_an_output_is_recognised_and_read(output: str, command: str, verdict: str, codes: list[str]) -> None:
    found = recognition.read(output, VALUES)
    assert (found.command, found.verdict) == (command, verdict), found
    assert [point.code for point in found.points if point.verdict != "good"] == codes
    assert found.text.endswith(".")
    for point in found.points:
        assert point.text.endswith((".", "?"))
        assert point.verdict == "good" or point.fix or point.text


def test_credentials_are_never_said_again() -> None:
    for output in (
        json.dumps(SESSION),
        json.dumps(SESSION).replace(NAME, "Another"),
        f"aws_secret SecretAccessKey {SECRET}",
    ):
        found = recognition.read(output, VALUES)
        assert found.has_secret
        for secret in (SECRET, SESSION["Credentials"]["SessionToken"], SESSION["Credentials"]["AccessKeyId"]):
            assert secret not in repr(found)
    assert not recognition.read(role(), VALUES).has_secret  # an External ID is none


def test_the_date_of_deletion_and_the_mends_are_in_their_own_values() -> None:
    (state,) = [point for point in recognition.read(OUTPUTS[31][0], VALUES).points if point.code == "key_state"]
    assert "2026-12-01" in state.text
    assert f"aws kms cancel-key-deletion --key-id {KEY}" in state.fix


def test_outputs_are_read_before_the_arns_are_given() -> None:
    bare = Values(Access.of_texts(tenant="", service_role_arn=SERVICE, external_id=EXTERNAL_ID))
    for output, command, *_ in OUTPUTS:
        assert recognition.read(output, bare).command in {command, "assume-role"}


def test_the_commands_are_filled_in_and_shell_safe() -> None:
    given_path = ROLE.replace("role/", "role/app+x,y/")
    for command in commands.of(RoleArn.parse(given_path), KeyArn.parse(KEY)):
        words = shlex.split(command.text)
        assert words[0] == "aws"
        assert not set(command.text) & set("<>$`;|&*?\n\\")
    texts = {command.name: command.text for command in commands.of(RoleArn.parse(given_path), KeyArn.parse(KEY))}
    assert texts["get-role"].split()[4] == NAME
    assert "--region eu-central-1" in texts["describe-key"]
    assert [command.name for command in commands.of(RoleArn.parse(ROLE), KeyArn.parse(KEY)) if command.is_guides] == [
        "assume-role",
        "describe-key",
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    "Role",
    "KeyMetadata",
    "EvaluationResults",
    "Policy",
    "Arn",
    "KeyState",
    "DeletionDate",
    "EvalActionName",
    "EvalDecision",
    "EvalResourceName",
    "AssumeRolePolicyDocument",
    "MaxSessionDuration",
    "PermissionsBoundary",
    "MatchedStatements",
    "Error",
    "Account",
    "UserId",
    "Statement",
    "Credentials",
]


@settings(deadline=None, max_examples=150)
@given(
    output=st.one_of(
        st.text(max_size=300),
        st.recursive(
            values,
            lambda inner: st.dictionaries(st.sampled_from(MEMBERS), inner | st.lists(inner, max_size=3), max_size=5),
            max_leaves=12,
        ).map(json.dumps),
        st.text(max_size=60).map(lambda text: f"An error occurred ({text}) when calling the {text} operation: {text}"),
    )
)
def test_no_output_breaks_the_reader(output: str) -> None:
    found = recognition.read(output, VALUES)
    assert found.verdict in {"good", "bad", "unclear"}
    assert found.text
