"""Faults: every fault over the socket and from a test, where it applies and for how long."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from django.conf import settings
from django.core.management import CommandError, call_command

from byokportal.localaws import fault_socket, faults
from byokportal.localaws.testing import LocalAws
from tests.localaws.conformance.world import World, allow, local_world, policy, trusting

CUSTOMER, OURS, REGION = "111122223333", "999900001111", "eu-central-1"


@pytest.fixture
def world(aws: LocalAws) -> World:
    return local_world(aws)


def hasty(aws: LocalAws, service: str, *, account: str = CUSTOMER, seconds: float = 30) -> Any:
    """A client that never tries again."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=30, read_timeout=seconds)
    region = "us-east-1" if service == "iam" else REGION
    return aws.session(account).client(service, endpoint_url=aws.endpoint, region_name=region, config=config)


def code_of(act: Callable[[], Any]) -> str:
    try:
        act()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.mark.parametrize(
    ("service", "code"), [("sts", "Throttling"), ("iam", "Throttling"), ("kms", "ThrottlingException")]
)
def test_throttling_lasts_for_so_many_calls(aws: LocalAws, service: str, code: str) -> None:
    aws.set_fault("throttling", times=2)
    client = hasty(aws, service)
    act = (
        {"sts": client.get_caller_identity}
        if service == "sts"
        else {"iam": getattr(client, "list_roles", None), "kms": getattr(client, "list_keys", None)}
    )
    assert [code_of(act[service]) for _ in range(3)] == [code, code, ""]
    assert aws.faults.rules() == []


def test_an_error_of_awss_own_has_its_status(aws: LocalAws) -> None:
    aws.set_fault("error", 503)
    with pytest.raises(ClientError) as caught:
        hasty(aws, "kms").list_keys()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert caught.value.response["Error"]["Code"] == "KMSInternalException"


def test_a_reset_and_a_time_out_are_seen_as_such(aws: LocalAws) -> None:
    aws.set_fault("reset", times=1)
    with pytest.raises(ConnectionClosedError):
        hasty(aws, "kms").list_keys()
    aws.set_fault("timeout", 5, times=1)
    with pytest.raises(ReadTimeoutError):
        hasty(aws, "kms", seconds=1).list_keys()
    aws.set_fault("timeout", 0, times=1)
    with pytest.raises(ConnectionClosedError):
        hasty(aws, "kms").list_keys()
    hasty(aws, "kms").list_keys()


@pytest.mark.parametrize(("service", "status"), [("sts", 403), ("kms", 400)])
def test_any_code_can_be_given(aws: LocalAws, service: str, status: int) -> None:
    aws.set_fault("code", "Smell", times=1)
    client = hasty(aws, service)
    with pytest.raises(ClientError) as caught:
        client.get_caller_identity() if service == "sts" else client.list_keys()
    assert caught.value.response["Error"]["Code"] == "Smell"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_spoiled_answer_was_given_all_the_same(aws: LocalAws, world: World) -> None:
    kms = hasty(aws, "kms")
    for fault in ("garbage", "cut"):
        aws.set_fault(fault, operation="kms:CreateKey", times=1)
        # botocore reads what is no JSON as an answer without members
        assert set(kms.create_key()) == {"ResponseMetadata"}
    assert len(kms.list_keys()["Keys"]) == 2
    aws.set_fault("cut", operation="sts:*", times=1)
    with pytest.raises(ResponseParserError):
        hasty(aws, "sts").get_caller_identity()
    aws.set_fault("garbage", operation="sts:*", times=1)
    with pytest.raises(KeyError):  # so botocore trips over a page that is XML; keys.aws.faults refuses it before
        hasty(aws, "sts").get_caller_identity()


def test_latency_holds_back_one_call_and_not_the_others(aws: LocalAws) -> None:
    aws.set_fault("latency", 0.6, operation="kms:ListKeys", times=1)
    client = hasty(aws, "kms")
    began = time.monotonic()
    client.list_keys()
    assert time.monotonic() - began >= 0.6


def test_a_rule_holds_where_it_says(aws: LocalAws, world: World) -> None:
    key, other = world.key(CUSTOMER), world.key(CUSTOMER)
    kms = hasty(aws, "kms")
    aws.set_fault("throttling", key=key, operation="Enc*")
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == "ThrottlingException"
    assert code_of(lambda: kms.encrypt(KeyId=key.rpartition("/")[2], Plaintext=b"x")) == "ThrottlingException"
    assert code_of(lambda: kms.encrypt(KeyId=other, Plaintext=b"x")) == ""
    assert code_of(lambda: kms.describe_key(KeyId=key)) == ""
    aws.faults.clear()
    aws.set_fault("throttling", account=CUSTOMER)
    assert code_of(lambda: kms.describe_key(KeyId=key)) == "ThrottlingException"
    assert code_of(hasty(aws, "kms", account=OURS).list_keys) == ""


def test_a_rule_about_an_account_meets_calls_for_its_roles(aws: LocalAws) -> None:
    aws.set_fault("throttling", account=CUSTOMER)
    sts = hasty(aws, "sts", account=OURS)
    assume = {"RoleArn": f"arn:aws:iam::{CUSTOMER}:role/nobody", "RoleSessionName": "xx"}
    assert code_of(lambda: sts.assume_role(**assume)) == "Throttling"
    assert code_of(sts.get_caller_identity) == ""


def later(aws: LocalAws, seconds: float) -> None:
    """Let time pass on AWS's clock: so many seconds after the tests' own."""
    for rule in aws.faults.rules():
        if rule["fault"] == "clock":
            aws.faults.clear(rule["number"])
    aws.set_fault("clock", seconds)


def test_a_change_in_iam_is_seen_after_the_delay(aws: LocalAws, world: World) -> None:
    arn, session = world.us()
    role = world.role(CUSTOMER, policy(trusting(CUSTOMER)))
    sts, iam, name = world.client(session, "sts"), world.client(CUSTOMER, "iam"), role.rpartition("/")[2]
    assume = {"RoleArn": role, "RoleSessionName": "xx"}
    aws.set_fault("iam-delay", 60, account=CUSTOMER)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(trusting(arn)))
    assert code_of(lambda: sts.assume_role(**assume)) == "AccessDenied"  # still the old trust policy
    later(aws, 61)
    assert code_of(lambda: sts.assume_role(**assume)) == ""
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(trusting(CUSTOMER)))
    assert code_of(lambda: sts.assume_role(**assume)) == ""  # and a revocation is as late
    later(aws, 150)
    assert code_of(lambda: sts.assume_role(**assume)) == "AccessDenied"


def test_a_role_that_is_new_cannot_be_assumed_yet(aws: LocalAws, world: World) -> None:
    arn, session = world.us()
    aws.set_fault("iam-delay", 60, account=CUSTOMER)
    role = world.role(CUSTOMER, policy(trusting(arn)))
    assume = {"RoleArn": role, "RoleSessionName": "xx"}
    assert code_of(lambda: world.client(session, "sts").assume_role(**assume)) == "AccessDenied"
    later(aws, 61)
    assert code_of(lambda: world.client(session, "sts").assume_role(**assume)) == ""


def test_two_changes_arrive_one_after_the_other(aws: LocalAws, world: World) -> None:
    arn, session = world.us()
    role = world.role(CUSTOMER, policy(trusting(CUSTOMER)))
    iam, name = world.client(CUSTOMER, "iam"), role.rpartition("/")[2]
    aws.set_fault("iam-delay", 60, account=CUSTOMER)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(trusting(arn)))
    later(aws, 40)
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=policy(trusting(CUSTOMER)))
    later(aws, 70)  # the first is seen, the second not yet
    assume = {"RoleArn": role, "RoleSessionName": "xx"}
    assert code_of(lambda: world.client(session, "sts").assume_role(**assume)) == ""
    later(aws, 130)
    assert code_of(lambda: world.client(session, "sts").assume_role(**assume)) == "AccessDenied"


def test_a_change_in_kms_is_seen_after_the_delay(aws: LocalAws, world: World) -> None:
    kms, key = world.client(CUSTOMER, "kms"), world.key(CUSTOMER)
    aws.set_fault("kms-delay", 60)
    kms.disable_key(KeyId=key)
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == ""
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Enabled"
    young = kms.create_key()["KeyMetadata"]["Arn"]
    assert code_of(lambda: kms.describe_key(KeyId=young)) == "NotFoundException"
    later(aws, 61)
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == "DisabledException"
    assert code_of(lambda: kms.describe_key(KeyId=young)) == ""


def test_a_key_has_the_state_that_a_rule_says(aws: LocalAws, world: World) -> None:
    key = world.key(CUSTOMER)
    aws.set_fault("key-state", "Unavailable", key=key)
    kms = world.client(CUSTOMER, "kms")
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == "KMSInvalidStateException"
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Unavailable"
    aws.faults.clear()
    assert code_of(lambda: kms.encrypt(KeyId=key, Plaintext=b"x")) == ""


def test_a_share_of_the_calls_meets_a_rule() -> None:
    rules = faults.Faults()
    rules.add(faults.rule_of({"fault": "reset", "share": 0.2}))
    call = faults.Call("kms", "Decrypt", (CUSTOMER,))
    met = sum(bool(rules.met(call, wanted=lambda fault: True)) for _ in range(5_000))
    assert 850 < met < 1_150  # 5.3 standard deviations each way


# --- entry points ---------------------------------------------------------------------------------------------------


def command(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("faults", *arguments, stdout=out)
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def test_the_command_adds_lists_and_clears(aws: LocalAws) -> None:
    added = command("add", "throttling", "--account", CUSTOMER, "--operation", "kms:*", "--times", "3")
    assert added["rules"][0] | {"number": 0} == {
        "fault": "throttling",
        "account": CUSTOMER,
        "key": "",
        "operation": "kms:*",
        "value": 0,
        "times": 3,
        "share": 1.0,
        "number": 0,
    }
    command("add", "iam-delay", "20")
    assert [rule["fault"] for rule in command("list")["rules"]] == ["throttling", "iam-delay"]
    assert command("clear", str(added["added"]))["cleared"] == 1
    assert [rule["value"] for rule in command("list")["rules"]] == [20.0]
    assert command("clear") == {"cleared": 1, "rules": []}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "iam-delay", "121"], "from 0 to 120"),
        (["add", "error", "200"], "from 500 to 599"),
        (["add", "latency", "long"], "is a number"),
        (["add", "key-state", "Happy"], "key-state is one of"),
        (["add", "code"], "an error code of AWS's"),
        (["add", "code", "<x>"], "an error code of AWS's"),
        (["add", "throttling", "--times", "-1"], "times is a whole number"),
        (["add", "throttling", "--share", "0"], "share is a number above 0"),
        (["add", "hail"], "invalid choice"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_the_reason(aws: LocalAws, arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        command(*arguments)
    assert aws.faults.rules() == []


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 5_000,
        b'{"do": "rain"}',
        b'{"do": "add"}',
        b'{"do": "add", "rule": {"fault": "reset", "smell": 1}}',
        b'{"do": "clear", "number": "x"}',
        b"x" * 70_000,
    ],
)
def test_the_socket_answers_nonsense_with_an_error(aws: LocalAws, line: bytes) -> None:
    assert "error" in fault_socket._answered(line, aws.faults)


def test_the_socket_is_its_owners_alone(aws: LocalAws) -> None:
    path = Path(settings.VAR_DIR) / fault_socket.NAME
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_without_a_local_aws_the_command_says_so(tmp_path: Path, settings: Any) -> None:
    settings.VAR_DIR = tmp_path
    with pytest.raises(CommandError, match="No local AWS runs here"):
        command("list")


def test_there_is_an_end_to_the_rules() -> None:
    rules = faults.Faults()
    for _ in range(faults.MAX_RULES):
        rules.add(faults.Rule("reset"))
    with pytest.raises(ValueError, match="clear some"):
        rules.add(faults.Rule("reset"))


def test_a_delay_is_of_one_account(aws: LocalAws, world: World) -> None:
    """What a delay holds back is the view of one account: another sees its own changes at once."""
    aws.set_fault("iam-delay", 60, account=CUSTOMER)
    arn, session = world.us()
    assert code_of(lambda: world.session(session, world.role(OURS, policy(trusting(arn)), allow("kms:*")))) == ""
