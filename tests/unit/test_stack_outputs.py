"""Both ARNs out of what a deployment printed, however it printed them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byokportal.errors import DomainError, InvalidInput, SecretPasted
from keys.arns import RoleArn
from keys.proof.pasted import stack_outputs

OURS = RoleArn.parse("arn:aws:iam::999900001111:role/byok-service-1")
ROLE = "arn:aws:iam::111122223333:role/kore/AIforWorkByokAccessRole"
KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = "arn:aws:iam::111122223333:role/Other"
OUTPUTS = [{"OutputKey": "RoleArn", "OutputValue": ROLE}, {"OutputKey": "KeyArn", "OutputValue": KEY}]
STACK = {
    "StackId": "arn:aws:cloudformation:eu-central-1:111122223333:stack/kore/1",
    "RoleARN": OTHER,  # the role that CloudFormation itself works with
    "Parameters": [{"ParameterKey": "ServiceRoleArn", "ParameterValue": str(OURS)}],
    "Outputs": OUTPUTS,
}
TERRAFORM = {
    "role_arn": {"sensitive": False, "type": "string", "value": ROLE},
    "key_arn": {"sensitive": False, "type": "string", "value": KEY},
    "vpc_id": {"sensitive": False, "type": "string", "value": "vpc-1"},
    "subnets": {"sensitive": False, "type": ["list", "string"], "value": ["a"]},
}


def read(text: str) -> tuple[str, str]:
    found = stack_outputs.read(text, service_role=OURS)
    return str(found.role or ""), str(found.key or "")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Stacks": [STACK]}, indent=4),
        json.dumps(STACK),
        json.dumps(OUTPUTS),
        json.dumps(TERRAFORM, indent=2),
        json.dumps({"RoleArn": ROLE, "KeyArn": KEY}),
        f'role_arn = "{ROLE}"\nkey_arn = "{KEY}"\n',
        f"RoleArn\t{ROLE}\tThe role\nKeyArn\t{KEY}\t-\n",
        f"KeyArn\t{KEY}\r\nRoleArn\t{ROLE}\r\n",
        f"{ROLE}\n{KEY}",
        f"Service role {OURS}, your role {ROLE}, your key {KEY}",
        json.dumps({"byok_role_arn": {"value": ROLE}, "byok_key_arn": {"value": KEY}}),
        json.dumps({"module": {"value": {"role_arn": ROLE, "key_arn": KEY}}}),
    ],
)
def test_both_arns_are_found(text: str) -> None:
    assert read(text) == (ROLE, KEY)


@pytest.mark.parametrize("text", [ROLE, f"  {ROLE}\n", json.dumps({"role_arn": {"value": ROLE}})])
def test_the_role_alone_is_enough(text: str) -> None:
    assert read(text) == (ROLE, "")


def test_the_key_alone_is_enough() -> None:
    assert read(f'"{KEY}"') == ("", KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        "nothing here",
        str(OURS),
        f"{ROLE} {OTHER}",
        json.dumps([*OUTPUTS, {"OutputKey": "OtherRoleArn", "OutputValue": OTHER}]),
        json.dumps({"role_arn": {"value": "arn:aws:iam::111122223333:role/*"}}),
        json.dumps({"role_arn": {"value": "arn:aws:iam::111122223333:user/alice"}}),
        json.dumps({"key_arn": {"value": "arn:aws:kms:eu-central-1:111122223333:alias/mine"}}),
        "x" * 70_000,
        "[" * 60_000,
    ],
)
def test_what_names_no_role_or_several_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(text)
    assert refused.value.errors["outputs"][0].endswith((".", "/"))


def test_a_secret_among_the_outputs_is_refused_and_not_said_again() -> None:
    secret = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
    outputs = {**TERRAFORM, "key": {"value": "AKIA" + "IOSFODNN7EXAMPLE"}, "secret": {"value": secret}}
    with pytest.raises(SecretPasted) as refused:
        read(json.dumps(outputs))
    assert secret not in str(refused.value.errors)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=20) | st.sampled_from([ROLE, KEY, OTHER, str(OURS), "RoleArn"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["Outputs", "OutputKey", "OutputValue", "value", "role_arn", "key_arn", "x"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_nothing_else_than_an_anticipated_refusal_comes_out(value: object) -> None:
    try:
        role, key = read(json.dumps(value))
    except DomainError:
        return
    assert role != str(OURS)
    assert role in {"", ROLE, OTHER}
    assert key in {"", KEY}
