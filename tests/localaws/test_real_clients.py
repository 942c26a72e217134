"""Real clients: the AWS CLI in a process of its own walks the guide, and what we offer to paste makes what it says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from byokportal.localaws.testing import LocalAws
from keys.access import Access
from keys.policies import documents
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

    def run(script: str) -> None:
        done = subprocess.run(
            ["bash"],
            input=script,
            env=environment(aws, tmp_path, aws.accounts[CUSTOMER]),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    run(documents.of("cli", Access.of_texts(**values)))
    prove(aws, first, key)
    run(documents.of("cli", Access.of_texts(**values, role_arn=second), beside=documents.Beside(roles=(first,))))
    prove(aws, first, key)
    prove(aws, second, key)


# --- CloudFormation ---------------------------------------------------------------------------------------------------


def resolved(value: Any, known: dict[str, Any], made: dict[str, dict[str, str]]) -> Any:
    """Fill in Ref, Fn::GetAtt and Fn::Sub."""
    if isinstance(value, list):
        return [resolved(each, known, made) for each in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"Ref": name}:
            return known[name] if name in known else made[name]["Ref"]
        case {"Fn::GetAtt": [name, attribute]}:
            return made[name][attribute]
        case {"Fn::Sub": str(text)}:
            for name, filled in known.items():
                text = text.replace(f"${{{name}}}", str(filled))
            return text
    return {name: resolved(each, known, made) for name, each in value.items()}


def deploy(aws: LocalAws, template: dict[str, Any], account: str) -> dict[str, Any]:
    """Create the resources of a template as CloudFormation would, each after those it names; return the outputs."""
    iam = aws.client(account, "iam", "us-east-1")
    known = {name: each["Default"] for name, each in template.get("Parameters", {}).items()}
    known |= {"AWS::AccountId": account, "AWS::Partition": "aws", "AWS::Region": REGION}
    made: dict[str, dict[str, str]] = {}
    waiting = dict(template["Resources"])
    while waiting:
        name = next(
            name
            for name, each in waiting.items()
            if not [other for other in waiting if json.dumps(other) in json.dumps(each)]
        )
        resource = waiting.pop(name)
        facts = resolved(resource["Properties"], known, made)
        if resource["Type"] == "AWS::IAM::Role":
            role = iam.create_role(
                RoleName=facts["RoleName"], AssumeRolePolicyDocument=json.dumps(facts["AssumeRolePolicyDocument"])
            )["Role"]
            made[name] = {"Ref": role["RoleName"], "Arn": role["Arn"]}
        elif resource["Type"] == "AWS::IAM::ManagedPolicy":
            arn = iam.create_policy(
                PolicyName=facts["ManagedPolicyName"], PolicyDocument=json.dumps(facts["PolicyDocument"])
            )["Policy"]["Arn"]
            for role_name in facts["Roles"]:
                iam.attach_role_policy(RoleName=role_name, PolicyArn=arn)
            made[name] = {"Ref": arn}
        else:
            raise AssertionError(f"The template has a {resource['Type']}: teach this test to make one.")
    return {name: resolved(each["Value"], known, made) for name, each in template["Outputs"].items()}


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


@pytest.mark.slow
@pytest.mark.parametrize("more", [FIRST, REPLACING], ids=["the first role", "another role"])
def test_cfn_lint_has_nothing_to_say(tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "template.json").write_text(documents.of("cloudformation", **more))
    done = subprocess.run(
        [str(BIN / "cfn-lint"), "--regions", "us-east-1", "--", "template.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


# --- Terraform --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
@pytest.mark.parametrize("more", [FIRST, REPLACING], ids=["the first role", "another role"])
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
    (plain / "locals.tf").write_text(text[text.index("locals {") : text.index('resource "')])
    for name, document in (
        ("trust", documents.trust_policy(VALUES["service_role_arn"], EXTERNAL_ID)),
        ("permissions", documents.permissions_policy(VALUES["key_arn"])),
    ):
        encoded = run("console", folder=plain, given=f"jsonencode(jsondecode(local.byok_{name}_policy))\n")
        assert json.loads(json.loads(encoded)) == document
