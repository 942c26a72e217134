"""Real clients: the AWS CLI in a process of its own walks the guide, and what we offer to paste makes what it says."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import boto3
import pytest
from botocore.exceptions import ClientError
from cloudformation_stacks import deploy

from byokportal.localaws.testing import LocalAws
from keys.access import Access
from keys.arns import RoleArn
from keys.policies import cloudformation, documents
from keys.policies.choices import Choices
from keys.policies.values import ALIAS, Values
from keys.proof.pasted import stack_outputs
from tests.localaws.conformance.world import allow, policy, trusting

OURS, CUSTOMER, REGION = "999900001111", "111122223333", "eu-central-1"
EXTERNAL_ID = "byok-Aa1_of-the-tenant"
BIN = Path(sys.executable).parent


def environment(aws: LocalAws, folder: Path, keys: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": keys["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        **({"AWS_SESSION_TOKEN": keys["session_token"]} if "session_token" in keys else {}),
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
    }


class Cli:
    """The AWS CLI with one set of credentials."""

    def __init__(self, aws: LocalAws, folder: Path, keys: dict[str, str]) -> None:
        self.environment, self.folder = environment(aws, folder, keys), folder

    def __call__(self, *words: str) -> Any:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refusal(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode != 0
        return done.stderr

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(BIN / "aws"), *words, "--output", "json"]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )


def session_keys(credentials: dict[str, str]) -> dict[str, str]:
    return {
        "access_key_id": credentials["AccessKeyId"],
        "secret_access_key": credentials["SecretAccessKey"],
        "session_token": credentials["SessionToken"],
    }


def our_role(aws: LocalAws) -> str:
    """Our service role, with the right to assume roles."""
    iam = aws.client(OURS, "iam", "us-east-1")
    arn: str = iam.create_role(RoleName="byok-service-1", AssumeRolePolicyDocument=policy(trusting(OURS)))["Role"][
        "Arn"
    ]
    iam.put_role_policy(RoleName="byok-service-1", PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole")))
    return arn


def tenants_session(aws: LocalAws, role_arn: str) -> Any:
    """Our way into a tenant's role, and the kms client that it gives."""
    service = aws.client(OURS, "sts", REGION).assume_role(
        RoleArn=f"arn:aws:iam::{OURS}:role/byok-service-1", RoleSessionName="byok-service"
    )["Credentials"]

    def client(name: str, keys: dict[str, str]) -> Any:
        names = {
            "aws_access_key_id": "AccessKeyId",
            "aws_secret_access_key": "SecretAccessKey",
            "aws_session_token": "SessionToken",
        }
        return boto3.Session(**{ours: keys[theirs] for ours, theirs in names.items()}).client(
            name, endpoint_url=aws.endpoint, region_name=REGION
        )

    sts = client("sts", service)
    with pytest.raises(ClientError, match="is not authorized to perform: sts:AssumeRole"):
        sts.assume_role(RoleArn=role_arn, RoleSessionName="byok-test")
    tenant = sts.assume_role(RoleArn=role_arn, RoleSessionName="byok-test", ExternalId=EXTERNAL_ID)["Credentials"]
    return client("kms", tenant)


def prove(aws: LocalAws, role_arn: str, key_arn: str) -> None:
    """What the documents made lets us use the key, with the External ID and not without."""
    kms = tenants_session(aws, role_arn)
    blob = kms.encrypt(KeyId=key_arn, Plaintext=b"x", EncryptionContext={"tenant": "t"})["CiphertextBlob"]
    assert kms.decrypt(CiphertextBlob=blob, EncryptionContext={"tenant": "t"})["Plaintext"] == b"x"
    assert kms.describe_key(KeyId=key_arn)["KeyMetadata"]["Arn"] == key_arn
    with pytest.raises(ClientError, match="kms:DisableKey"):
        kms.disable_key(KeyId=key_arn)


@pytest.mark.slow
def test_the_aws_cli_walks_the_guide(aws: LocalAws, tmp_path: Path) -> None:
    service_role = our_role(aws)
    customer = Cli(aws, tmp_path, aws.accounts[CUSTOMER])
    key = customer("kms", "create-key", "--description", "Kore.ai BYOK")["KeyMetadata"]["Arn"]
    trust = documents.render(documents.trust_policy(service_role, EXTERNAL_ID))
    permissions = documents.render(documents.permissions_policy(key))
    role = customer("iam", "create-role", "--role-name", documents.ROLE_NAME, "--assume-role-policy-document", trust)[
        "Role"
    ]["Arn"]
    made = customer("iam", "create-policy", "--policy-name", documents.POLICY_NAME, "--policy-document", permissions)[
        "Policy"
    ]["Arn"]
    customer("iam", "attach-role-policy", "--role-name", documents.ROLE_NAME, "--policy-arn", made)
    held = json.loads(customer("kms", "get-key-policy", "--key-id", key, "--policy-name", "default")["Policy"])
    held["Statement"].append(documents.key_policy_statement(role))
    customer("kms", "put-key-policy", "--key-id", key, "--policy-name", "default", "--policy", json.dumps(held))
    # Step 4 as the guide prints it: the customer itself is not trusted, and that is the good sign.
    step4 = ("sts", "assume-role", "--role-arn", role, "--role-session-name", "test-session")
    assert "(AccessDenied) when calling the AssumeRole operation" in customer.refusal(*step4)
    assert customer("kms", "describe-key", "--key-id", key, "--region", REGION)["KeyMetadata"]["Enabled"] is True
    ours = Cli(aws, tmp_path, aws.accounts[OURS])
    chained = ours("sts", "assume-role", "--role-arn", service_role, "--role-session-name", "byok-service")[
        "Credentials"
    ]
    service = Cli(aws, tmp_path, session_keys(chained))
    assert "(AccessDenied)" in service.refusal(*step4)
    assert "(AccessDenied)" in service.refusal(*step4, "--external-id", "byok-another")
    tenant = Cli(aws, tmp_path, session_keys(service(*step4, "--external-id", EXTERNAL_ID)["Credentials"]))
    assert tenant("sts", "get-caller-identity")["Account"] == CUSTOMER
    assert tenant("kms", "describe-key", "--key-id", key)["KeyMetadata"]["KeyId"] in key
    (tmp_path / "plain").write_bytes(b"a secret")
    sealed = tenant(
        "kms", "encrypt", "--key-id", key, "--plaintext", "fileb://plain", "--encryption-context", "tenant=t"
    )
    (tmp_path / "sealed").write_bytes(base64.b64decode(sealed["CiphertextBlob"]))
    opened = ("kms", "decrypt", "--ciphertext-blob", "fileb://sealed", "--encryption-context")
    assert tenant(*opened, "tenant=t")["KeyId"] == key
    assert "(InvalidCiphertextException)" in tenant.refusal(*opened, "tenant=u")
    customer("kms", "disable-key", "--key-id", key)
    assert "(DisabledException)" in tenant.refusal(*opened, "tenant=t")
    assert "(AccessDeniedException)" in tenant.refusal("kms", "enable-key", "--key-id", key)


@pytest.mark.slow
def test_our_script_for_the_aws_cli_does_steps_two_and_three(aws: LocalAws, tmp_path: Path) -> None:
    """And the same for a role that is to replace this one: both are let in by the key then."""
    kms = aws.client(CUSTOMER, "kms", REGION)
    users = {
        **allow("kms:*", Principal={"AWS": CUSTOMER}),
        "Condition": {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER}:user/*"}},
    }
    key = kms.create_key(Policy=policy(users))["KeyMetadata"]["Arn"]
    values = {"tenant": "", "service_role_arn": our_role(aws), "external_id": EXTERNAL_ID, "key_arn": key}
    first, second = f"arn:aws:iam::{CUSTOMER}:role/{documents.ROLE_NAME}", f"arn:aws:iam::{CUSTOMER}:role/kore/Second"

    printed = run_script(aws, tmp_path, documents.of("cli", Access.of_texts(**values)))
    assert printed == (first, key)
    prove(aws, first, key)
    before = json.loads((tmp_path / "key-policy-before.json").read_text())["Statement"]
    assert before == [users]
    assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"][0] == users
    run_script(
        aws,
        tmp_path,
        documents.of("cli", Access.of_texts(**values, role_arn=second), beside=documents.Beside(roles=(first,))),
    )
    prove(aws, first, key)
    prove(aws, second, key)


def run_script(aws: LocalAws, folder: Path, script: str) -> tuple[str, str]:
    """Run the script as the customer; return the ARNs that the portal finds in what it printed."""
    done = subprocess.run(
        ["bash"],
        input=script,
        env=environment(aws, folder, aws.accounts[CUSTOMER]),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = stack_outputs.read(done.stdout, service_role=RoleArn.parse(f"arn:aws:iam::{OURS}:role/byok-service-1"))
    return str(found.role), str(found.key)


def bounded(aws: LocalAws) -> Choices:
    """What a careful organisation chooses; its permissions boundary exists."""
    boundary = aws.client(CUSTOMER, "iam", "us-east-1").create_policy(
        PolicyName="Boundary", PolicyDocument=policy(allow("kms:*"))
    )
    return Choices.read(
        role_path="/security/byok/",
        permissions_boundary=boundary["Policy"]["Arn"],
        tags=[("team", "security"), ("cost centre", "4 2"), ("owner", "prüfung@acme.example")],
    )


def has_what_was_chosen(aws: LocalAws, role_arn: str, choices: Choices) -> None:
    role = aws.client(CUSTOMER, "iam", "us-east-1").get_role(RoleName=role_arn.rpartition("/")[2])["Role"]
    assert role["Path"] == choices.role_path
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == choices.permissions_boundary
    assert {(tag["Key"], tag["Value"]) for tag in role["Tags"]} == set(choices.tags)


def is_a_key_to_keep(aws: LocalAws, key_arn: str, choices: Choices) -> None:
    """The made key rotates, has its alias and tags, and the account stays in charge of it."""
    kms = aws.client(CUSTOMER, "kms", REGION)
    assert kms.get_key_rotation_status(KeyId=key_arn)["KeyRotationEnabled"]
    assert kms.describe_key(KeyId=ALIAS)["KeyMetadata"]["Arn"] == key_arn
    tags = {(tag["TagKey"], tag["TagValue"]) for tag in kms.list_resource_tags(KeyId=key_arn)["Tags"]}
    assert tags == set(choices.tags)
    kms.put_key_policy(  # the customer is not locked out of its own key
        KeyId=key_arn, PolicyName="default", Policy=kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"]
    )


@pytest.mark.slow
def test_our_script_makes_the_key_too_with_path_boundary_and_tags(aws: LocalAws, tmp_path: Path) -> None:
    choices = replace(bounded(aws), makes_key=True)
    values = Access.of_texts(tenant="", service_role_arn=our_role(aws), external_id=EXTERNAL_ID)
    role, key = run_script(aws, tmp_path, documents.of("cli", values, choices=choices))
    assert role == f"arn:aws:iam::{CUSTOMER}:role/security/byok/{documents.ROLE_NAME}"
    prove(aws, role, key)
    has_what_was_chosen(aws, role, choices)
    is_a_key_to_keep(aws, key, choices)


# --- CloudFormation ---------------------------------------------------------------------------------------------------


def test_the_cloudformation_template_makes_what_the_guide_asks_for(aws: LocalAws) -> None:
    service_role, kms = our_role(aws), aws.client(CUSTOMER, "kms", REGION)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    template = json.loads(
        documents.of(
            "cloudformation",
            Access.of_texts(tenant="", service_role_arn=service_role, external_id=EXTERNAL_ID, key_arn=key),
        )
    )
    role = deploy(aws, template, CUSTOMER)["RoleArn"]
    held = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    held["Statement"].append(documents.key_policy_statement(role))
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(held))
    prove(aws, role, key)


def test_the_cloudformation_template_makes_the_key_too_with_path_boundary_and_tags(aws: LocalAws) -> None:
    choices = replace(bounded(aws), makes_key=True)
    values = Access.of_texts(tenant="", service_role_arn=our_role(aws), external_id=EXTERNAL_ID)
    outputs = deploy(aws, json.loads(documents.of("cloudformation", values, choices=choices)), CUSTOMER)
    prove(aws, outputs["RoleArn"], outputs["KeyArn"])
    has_what_was_chosen(aws, outputs["RoleArn"], choices)
    is_a_key_to_keep(aws, outputs["KeyArn"], choices)


def test_a_role_that_is_replaced_is_another_one_to_the_key_until_its_policy_is_saved_again(aws: LocalAws) -> None:
    """As when a stack gets another RoleName and the old one back: name and ARN are the same, the unique id is not."""
    values = Access.of_texts(tenant="", service_role_arn=our_role(aws), external_id=EXTERNAL_ID)
    template = json.loads(documents.of("cloudformation", values, choices=Choices(makes_key=True)))
    outputs = deploy(aws, template, CUSTOMER)
    role, key = outputs["RoleArn"], outputs["KeyArn"]
    iam, kms = aws.client(CUSTOMER, "iam", "us-east-1"), aws.client(CUSTOMER, "kms", REGION)
    # The default statement lets the account's own policies decide; here the statement of step 3 stands alone.
    users = {
        **allow("kms:*", Principal={"AWS": CUSTOMER}),
        "Condition": {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{CUSTOMER}:user/*"}},
    }

    def save_the_statement() -> None:
        statement = documents.key_policy_statement(role)
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy(users, statement))

    save_the_statement()
    prove(aws, role, key)
    name = role.rpartition("/")[2]
    first = iam.get_role(RoleName=name)["Role"]["RoleId"]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"][0]["PolicyArn"]
    iam.detach_role_policy(RoleName=name, PolicyArn=attached)
    iam.delete_role(RoleName=name)
    trust = template["Resources"]["AccessRole"]["Properties"]["AssumeRolePolicyDocument"]
    again = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn=attached)
    assert again["Arn"] == role
    assert again["RoleId"] != first
    held = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"]
    assert held[1]["Principal"]["AWS"] == first  # what AWS shows of a principal that is gone
    with pytest.raises(ClientError, match="AccessDeniedException"):
        tenants_session(aws, role).encrypt(KeyId=key, Plaintext=b"x")
    save_the_statement()
    prove(aws, role, key)


def test_the_quick_create_link_fills_the_hosted_template(aws: LocalAws) -> None:
    """Every parameter of the address is one of the template, and the stack is what the document makes."""
    url = "https://byok-templates.s3.eu-central-1.amazonaws.com/byok-access.json"
    template = json.loads(cloudformation.hosted_template())
    service_role, kms = our_role(aws), aws.client(CUSTOMER, "kms", REGION)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    access = Access.of_texts(tenant="", service_role_arn=service_role, external_id=EXTERNAL_ID, key_arn=key)
    bound = bounded(aws)
    for number, choices in enumerate((Choices(), bound, Choices(makes_key=True))):
        values = Values(access, choices=choices)
        link = cloudformation.quick_create_link(values, url, region=REGION)
        assert link.startswith(f"https://console.aws.amazon.com/cloudformation/home?region={REGION}#/stacks/create/")
        asked = dict(parse_qsl(link.partition("/review?")[2]))
        assert asked["templateURL"] == url
        given = {name.removeprefix("param_"): value for name, value in asked.items() if name.startswith("param_")}
        assert set(given) <= set(template["Parameters"])
        assert given["ExternalId"] == EXTERNAL_ID
        given |= {"RoleName": f"Role-{number}", "PolicyName": f"Policy-{number}"}  # in one account
        outputs = deploy(aws, template, CUSTOMER, given)
        assert f":role{choices.role_path}Role-{number}" in outputs["RoleArn"]
        if choices.makes_key:
            assert outputs["KeyArn"] != key
            is_a_key_to_keep(aws, outputs["KeyArn"], Choices())
        else:
            assert outputs["KeyArn"] == key
            held = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
            held["Statement"].append(documents.key_policy_statement(outputs["RoleArn"]))
            kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(held))
        prove(aws, outputs["RoleArn"], outputs["KeyArn"])
    assert not cloudformation.quick_create_link(values, "")
    assert not cloudformation.quick_create_link(replace(values, beside=documents.Beside(keys=(key,))), url)
    china = replace(access, service_role=RoleArn.parse("arn:aws-cn:iam::999900001111:role/x"))
    assert "https://console.amazonaws.cn/" in cloudformation.quick_create_link(replace(values, access=china), url)
    iso = replace(access, service_role=RoleArn.parse("arn:aws-iso:iam::999900001111:role/x"))
    assert not cloudformation.quick_create_link(replace(values, access=iso), url)


@pytest.mark.parametrize("name", ["cloudformation", "terraform", "cli"])
@pytest.mark.parametrize("makes_key", [False, True])
def test_no_document_destroys_a_key_or_passes_by_the_lock_out_check(name: str, makes_key: bool) -> None:
    text = documents.of(name, Access.of_texts(**VALUES), choices=Choices(makes_key=makes_key))
    flat = re.sub(r"[_\s-]", "", text.lower())
    assert "bypasspolicylockoutsafetycheck" not in flat
    assert "schedulekeydeletion" not in flat
    if name == "cloudformation":
        for template in (json.loads(text), json.loads(cloudformation.hosted_template())):
            keys = [each for each in template["Resources"].values() if each["Type"] == "AWS::KMS::Key"]
            assert len(keys) == (1 if makes_key or "Conditions" in template else 0)
            for key in keys:
                assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
                assert key["Properties"]["PendingWindowInDays"] == 30
                assert key["Properties"]["EnableKeyRotation"] is True
    if name == "terraform":
        guarded = re.findall(r'^resource "(aws_kms_key(?:_policy)?)" "byok" \{(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        assert [kind for kind, _ in guarded] == (["aws_kms_key"] if makes_key else []) + ["aws_kms_key_policy"]
        assert all("prevent_destroy = true" in body for _, body in guarded)
        assert ("deletion_window_in_days = 30" in text) is makes_key


VALUES = {
    "tenant": "",
    "service_role_arn": f"arn:aws:iam::{OURS}:role/byok-service-1",
    "external_id": EXTERNAL_ID,
    "key_arn": f"arn:aws:kms:{REGION}:{CUSTOMER}:key/1234abcd-12ab-34cd-56ef-1234567890ab",
}


FIRST = {"access": Access.of_texts(**VALUES)}
REPLACING = {
    "access": Access.of_texts(**VALUES, role_arn=f"arn:aws:iam::{CUSTOMER}:role/kore/Second"),
    "beside": documents.Beside(roles=(f"arn:aws:iam::{CUSTOMER}:role/First",)),
}
CHOSEN = Choices.read(
    role_path="/security/byok/",
    permissions_boundary=f"arn:aws:iam::{CUSTOMER}:policy/Boundary",
    tags=[("team", "security"), ("cost centre", "4 2"), ("Prüfer", "a@b.example")],
)
WITH_CHOICES = {**FIRST, "choices": CHOSEN}
WITH_KEY = {**FIRST, "choices": replace(CHOSEN, makes_key=True)}
EACH = pytest.mark.parametrize(
    "more",
    [FIRST, REPLACING, WITH_CHOICES, WITH_KEY],
    ids=["the first role", "another role", "path, boundary and tags", "with the key"],
)


@pytest.mark.slow
@EACH
def test_cfn_lint_has_nothing_to_say(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "template.json").write_text(documents.of("cloudformation", **more))
    (tmp_path / "hosted.json").write_text(cloudformation.hosted_template())
    done = subprocess.run(
        [str(BIN / "cfn-lint"), "--regions", "us-east-1", "--", "template.json", "hosted.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


# --- Terraform --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
@EACH
def test_terraform_reads_the_policies_to_the_letter(tmp_path: Path, more: dict[str, Any]) -> None:
    text = documents.of("terraform", **more)
    (tmp_path / "byok.tf").write_text(text)
    environment_ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TF_CLI_CONFIG_FILE": os.devnull,
        "CHECKPOINT_DISABLE": "1",
    }

    def run(*words: str, folder: Path = tmp_path, given: str = "") -> str:
        done = subprocess.run(
            ["terraform", *words],
            input=given,
            cwd=folder,
            env=environment_,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("fmt", "-check")
    # The provider cannot be had here: what the resources refer to is judged by itself.
    plain = tmp_path / "plain"
    plain.mkdir()
    made = {"${aws_iam_role.byok.arn}": f"arn:aws:iam::{CUSTOMER}:role/R", "${aws_kms_key.byok.arn}": VALUES["key_arn"]}
    blocks = re.findall(r"^locals \{\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)
    for reference, arn in made.items():
        blocks = [block.replace(reference, arn) for block in blocks]
    (plain / "locals.tf").write_text("\n".join(blocks))

    def value_of(name: str) -> Any:
        return json.loads(json.loads(run("console", folder=plain, given=f"jsonencode({name})\n")))

    trust = documents.trust_policy(VALUES["service_role_arn"], EXTERNAL_ID)
    assert value_of("jsondecode(local.byok_trust_policy)") == trust
    assert value_of("jsondecode(local.byok_permissions_policy)") == documents.permissions_policy(VALUES["key_arn"])
    if more.get("choices", CHOSEN).makes_key:
        return
    # Step 3: nothing without the file, and with it all that stands there, our statement once.
    assert value_of("local.byok_key_policy_now") is None
    ours = documents.key_policy_statement(f"arn:aws:iam::{CUSTOMER}:role/R", more.get("beside", documents.ALONE).roles)
    others = [allow("kms:*", Principal={"AWS": CUSTOMER}), {"Sid": "B", "Effect": "Deny", "NotPrincipal": {"AWS": "x"}}]
    for held in (
        {"Version": "2012-10-17", "Id": "mine", "Statement": others},
        {"Version": "2012-10-17", "Id": "mine", "Statement": [*others, {**ours, "Principal": "AROAEXAMPLE"}]},
    ):
        (plain / "byok-key-policy.json").write_text(json.dumps(held))
        assert value_of("local.byok_key_policy") == {**held, "Statement": [*others, ours]}
    (plain / "byok-key-policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": others[0]}))
    assert value_of("local.byok_key_policy")["Statement"] == [others[0], ours]
    (plain / "byok-key-policy.json").write_text("not a policy")
    assert subprocess.run(
        ["terraform", "console"],
        input="local.byok_key_policy\n",
        cwd=plain,
        env=environment_,
        text=True,
        capture_output=True,
        check=False,
    ).returncode
