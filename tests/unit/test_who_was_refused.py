"""A refusal is the caller's own: whoever was refused an action outside the five, the role for us never gets it."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.access import Access
from keys.policies import documents
from keys.proof.diagnosis import advice, causes, parsing
from keys.proof.diagnosis.aws_operations import IAM_OPERATIONS, KMS_OPERATIONS
from keys.proof.diagnosis.callers import NOT_ALLOWED, Who, who
from keys.proof.pasted.findings import Values
from keys.proof.pasted.outputs import cli_errors

ACCOUNT = "111122223333"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OURS = f"arn:aws:sts::{ACCOUNT}:assumed-role/Bank/byok-probe-t-1"
ENGINEER = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_PowerUser_0123456789abcdef/engineer@example.org"
VALUES = Values(
    Access.of_texts(
        tenant="t-1",
        service_role_arn="arn:aws:iam::999900001111:role/byok-service-1",
        external_id="byok-Mine_0123456789-abcdefghijklmnopqrstuvwxyz",
    )
)
CALLERS = {
    OURS: Who.OURS,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/{documents.ROLE_NAME}/anything": Who.OURS,
    ENGINEER: Who.SOMEBODY_ELSE,
    f"arn:aws:iam::{ACCOUNT}:user/division/engineer": Who.SOMEBODY_ELSE,
    f"arn:aws:iam::{ACCOUNT}:root": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:federated-user/engineer": Who.SOMEBODY_ELSE,
    "arn:aws:iam::foo:user/bar": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling": Who.SOMEBODY_ELSE,
    f"arn:aws:iam::{ACCOUNT}:role/Bank": Who.UNSURE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/GitHubActions": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/AWSCloudFormation": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/workstation/i-0123456789abcdef0": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/CloudMapper/botocore-session-1632399481": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/terraform-cloud/terraform-run-h7rD1XcGWxHMDCG7": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/Owner/engineer@example.org": Who.SOMEBODY_ELSE,
    f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/session-1": Who.UNSURE,
    "xxxxx": Who.UNNAMED,
    "[redacted]": Who.UNNAMED,
    "": Who.UNNAMED,
}
TAILS = (
    "",
    " because no identity-based policy allows the {action} action",
    " because no resource-based policy allows the {action} action",
    " because no permissions boundary allows the {action} action",
    " because no session policy allows the {action} action",
    " because no VPC endpoint policy allows the {action} action",
    " with an explicit deny",
    " with an explicit deny in an identity-based policy: arn:aws:iam::111122223333:policy/guard",
    " with an explicit deny in a resource-based policy",
    " with an explicit deny in a permissions boundary",
    " with an explicit deny in a service control policy",
    " because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based "
    "policy explicitly denies access",
)
OUTSIDE = sorted(
    f"{service}:{name}"
    for service, names in (("kms", KMS_OPERATIONS | {"TagResource", "UntagResource"}), ("iam", IAM_OPERATIONS))
    for name in names
    if not any(fnmatchcase(f"{service}:{name}", pattern) for pattern in documents.ACTIONS)
)
# What would change the role for us, or its statement in the key policy.
ABOUT_THE_ROLE = {
    label
    for label in causes.CAUSES
    if label.startswith(("role_permissions", "trust_policy", "key_policy")) or label == "external_id_mismatch"
}


def _refusal(caller: str, action: str, tail: str) -> str:
    return f"User: {caller} is not authorized to perform: {action} on resource: {KEY}{tail.format(action=action)}"


@pytest.mark.parametrize(("principal", "expected"), CALLERS.items())
def test_who_was_refused_is_read_from_the_principal(principal: str, expected: Who) -> None:
    assert who(parsing.parse(_refusal(principal, "kms:Decrypt", ""))) is expected


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("caller", CALLERS)
def test_an_action_outside_the_five_is_never_for_the_role(caller: str, tail: str) -> None:
    # each action meets every eighth pair of caller and tail
    first = (list(CALLERS).index(caller) * len(TAILS) + TAILS.index(tail)) % 8
    for action in (*OUTSIDE[first::8], "kms:PutKeyPolicy", "kms:CreateGrant", "iam:CreateRole"):
        found = parsing.read(_refusal(caller, action, tail))
        assert found.causes
        if action != "kms:CreateGrant":  # whose old causes stay beside the caller's
            assert not ABOUT_THE_ROLE & set(found.causes), (action, found.causes)
        for text in (found.text, found.answer):
            assert f"Add {action}" not in text
            assert "attached to your role" not in text
            assert "policy of your role" not in text
            assert "statement for your role" not in text
            assert who(found.error) is not Who.OURS or "allow it" not in text
        assert advice.turn_of(found.steps) == "tenant"
        if "service control" not in tail:
            assert found.causes[0] == NOT_ALLOWED
            assert "your administrator" in found.text
            assert action in found.text


@given(
    st.sampled_from(sorted(CALLERS)),
    st.from_regex(r"[a-z][a-z0-9-]{1,12}:[A-Z][A-Za-z]{2,20}", fullmatch=True),
    st.sampled_from(TAILS),
)
def test_no_action_of_any_service_is_added_to_the_role(caller: str, action: str, tail: str) -> None:
    if action.startswith("sts:") or any(fnmatchcase(action, pattern) for pattern in documents.ACTIONS):
        return
    found = parsing.read(_refusal(caller, action, tail))
    for text in (found.text, found.answer):
        assert f"Add {action}" not in text
        assert "attached to your role" not in text


NEEDED = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptTo", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey")


@pytest.mark.parametrize("action", NEEDED)
def test_what_the_role_needs_is_added_to_it_when_it_was_refused(action: str) -> None:
    found = parsing.read(_refusal(OURS, action, TAILS[1]))
    assert found.causes[0] == "role_permissions_policy_missing_action"
    assert f"Add {action}" in found.text
    assert "none of ours" not in found.text


@pytest.mark.parametrize("action", NEEDED)
@pytest.mark.parametrize("tail", TAILS[1:6])
def test_an_engineer_who_may_not_use_the_key_is_no_reason_to_change_the_role(action: str, tail: str) -> None:
    found = parsing.read(_refusal(ENGINEER, action, tail))
    assert found.causes[0] == NOT_ALLOWED
    assert not {"our_session_policy", "our_vpc_endpoint_policy"} & set(found.causes)
    assert "AWSReservedSSO_PowerUser_0123456789abcdef" in found.text
    assert "attached to your role" not in found.text + found.answer
    assert f"Add {action}" not in found.text + found.answer


def test_a_session_of_another_name_is_named_before_the_role_is_changed() -> None:
    found = parsing.read(_refusal(f"arn:aws:sts::{ACCOUNT}:assumed-role/reader/session-1", NEEDED[1], TAILS[1]))
    assert "role/reader" in found.text
    assert "none of ours" in found.text
    assert "none of ours" in found.answer


def test_an_engineer_who_may_not_become_the_role_is_the_good_sign_of_step_4() -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/{documents.ROLE_NAME}"
    found = parsing.read(f"User: {ENGINEER} is not authorized to perform: sts:AssumeRole on resource: {role}")
    assert "step 4" in found.text
    assert "external_id_mismatch" in found.causes


def test_our_own_instance_that_may_not_become_the_role_is_not_taken_for_an_engineer() -> None:
    ours = "arn:aws:sts::999900001111:assumed-role/byok-worker/i-0123456789abcdef0"
    role = f"arn:aws:iam::{ACCOUNT}:role/{documents.ROLE_NAME}"
    tail = " because no identity-based policy allows the sts:AssumeRole action"
    found = parsing.read(f"User: {ours} is not authorized to perform: sts:AssumeRole on resource: {role}{tail}")
    assert found.causes == ("our_identity_policy_missing_assume_role",)


@pytest.mark.parametrize("action", ["kms:PutKeyPolicy", "iam:CreateRole", "kms:CreateKey", "iam:GetRole"])
def test_the_banner_of_the_console_is_read(action: str) -> None:
    service, name = action.split(":")
    lines = (
        f"You don't have permission to {action}.",
        f"User: {ENGINEER}",
        f"Service: {service}",
        f"Action: {name}",
        f"On resource(s): {KEY}",
        "Context: no identity-based policy allows the action",
    )
    for between, taken in itertools.product(
        ("\n", " ", ""), (lines, lines[1:], (lines[1], f"Action: {action}", *lines[4:]))
    ):
        found = parsing.read(between.join(taken))
        assert (found.causes, found.error.action) == ((NOT_ALLOWED,), action), (between, taken)


def test_the_box_for_outputs_says_the_same_of_a_refused_step() -> None:
    refusal = _refusal(ENGINEER, "iam:CreateRole", "")
    message = f"An error occurred (AccessDenied) when calling the CreateRole operation: {refusal}"
    _, _, _, points = cli_errors.judge(parsing.parse(message), VALUES)
    assert [point.code for point in points] == [NOT_ALLOWED]
    assert "your administrator" in points[0].text


@pytest.mark.parametrize(
    ("action", "step"),
    [
        ("kms:CreateKey", 1),
        ("kms:TagResource", 1),
        ("kms:PutKeyPolicy", 3),
        ("kms:GetKeyPolicy", 3),
        ("iam:CreateRole", 2),
        ("iam:UpdateAssumeRolePolicy", 2),
        ("cloudformation:CreateStack", 2),
    ],
)
def test_the_step_is_what_the_caller_was_about_to_do(action: str, step: int) -> None:
    assert parsing.read(_refusal(ENGINEER, action, TAILS[1])).steps == (step,)
