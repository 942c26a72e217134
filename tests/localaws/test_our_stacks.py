"""`deploy/aws`: the documents of our own side are those that our_principals prints, and what the stacks make is enough
for our work and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from cloudformation_stacks import deploy, resolved
from django.core.management import call_command
from moto.server import ThreadedMotoServer

from byokportal.localaws.testing import LocalAws
from keys import head_signing
from keys.aws import sessions
from keys.configuration import opening
from keys.policies import our_stacks, principals
from support import preflight
from tenants.models import ServiceRole

ROOT = Path(__file__).resolve().parents[2]
OURS, CANARY, REGION = "999900001111", "999900002222", "eu-central-1"
KEPT = {"AWS::IAM::Role", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Alias"}
PLATFORM_KEY = f"arn:aws:kms:{REGION}:{OURS}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def template(name: str) -> dict[str, Any]:
    return dict(json.loads((ROOT / f"deploy/aws/{name}.json").read_text()))


def document(name: str, resource: str, account: str, **parameters: str) -> Any:
    known = {"AWS::AccountId": account, "AWS::Partition": "aws", **parameters}
    arns = {one: {"Arn": f"<{one}>", "Ref": f"<{one}>"} for one in template(name)["Resources"]}
    facts = template(name)["Resources"][resource]["Properties"]
    return resolved(facts.get("PolicyDocument") or facts["AssumeRolePolicyDocument"], known, arns)


@pytest.mark.parametrize("name", sorted(our_stacks.STACKS))
def test_what_is_committed_is_what_the_command_prints(name: str) -> None:
    out = StringIO()
    call_command("our_stack", name, stdout=out)
    assert out.getvalue() == (ROOT / f"deploy/aws/{name}.json").read_text(), f"manage.py our_stack {name}"


def test_a_machine_of_ec2_can_take_each_principal() -> None:
    made = template("our-account")
    (condition,) = [name for name, each in made["Conditions"].items() if "ec2.amazonaws.com" in str(each)]
    profiles = [each for each in made["Resources"].values() if each["Type"] == "AWS::IAM::InstanceProfile"]
    assert {each["Condition"] for each in profiles} == {condition}
    taken = [each["Properties"]["Roles"] for each in profiles]
    assert taken == [[{"Ref": name}] for name, each in made["Resources"].items() if _runs_processes(each)]


def _runs_processes(resource: dict[str, Any]) -> bool:
    trust = resource["Properties"].get("AssumeRolePolicyDocument", {})
    return any(each["Principal"] == {"Service": {"Ref": "RunsOn"}} for each in trust.get("Statement", ()))


@pytest.mark.slow
def test_cfn_lint_has_nothing_to_say() -> None:
    files = sorted(str(one.relative_to(ROOT)) for one in (ROOT / "deploy/aws").glob("*.json"))
    assert len(files) == len(our_stacks.STACKS)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "cfn-lint"), "--regions", "us-east-1", "eu-central-1", "--", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.django_db
def test_the_documents_are_those_that_our_principals_prints(settings: Any) -> None:
    out = StringIO()
    call_command("our_principals", "--configuration-principal", "<who>", stdout=out)
    printed = json.loads(out.getvalue())
    assert document("our-account", "Boundary", OURS) == printed["boundary"]
    assert document("our-account", "BasePolicy", OURS) == printed["base_principal"]
    assert document("our-account", "ReadBackPolicy", OURS) == printed["read_back"]
    worker = document("our-account", "ConfigurationPolicy", OURS, CanaryAccountId=CANARY)
    assert worker == printed["configuration_worker"]
    assert document("canary-account", "Boundary", CANARY) == printed["canary_boundary"]
    assert document("canary-account", "WriterPolicy", CANARY) == printed["canary_writer"]
    trust = document("canary-account", "Writer", CANARY, ConfigurationPrincipalArn="<who>")
    assert trust == printed["canary_writer_trust"]
    names = {
        one["Properties"].get("ManagedPolicyName") or one["Properties"].get("RoleName")
        for name in ("our-account", "canary-account")
        for one in template(name)["Resources"].values()
    }
    assert {printed["boundary_name"], printed["canary_writer_name"]} <= names


@pytest.mark.parametrize("name", sorted(our_stacks.STACKS))
def test_what_others_hang_on_survives_its_stack(name: str) -> None:
    for resource, each in template(name)["Resources"].items():
        if each["Type"] in KEPT or resource == "Boundary":
            assert (each["DeletionPolicy"], each["UpdateReplacePolicy"]) == ("Retain", "Retain"), resource


class Deployed:
    """The two accounts after both stacks, and who acts in them.

    CloudFormation lets the service that runs our processes become the principals; on this machine that is the
    account's administrator.
    """

    def __init__(self, aws: LocalAws, settings: Any, folder: Path) -> None:
        self._aws, self._settings, self._folder = aws, settings, folder
        # A key of the platform, and a bucket, are named by parameters.
        self.ours = deploy(
            aws,
            template("our-account"),
            OURS,
            {"CanaryAccountId": CANARY, "PlatformKeyArn": PLATFORM_KEY, "EscrowBucket": "byok-escrow"},
        )
        who = {"ConfigurationPrincipalArn": self.ours["ConfigurationPrincipalArn"]}
        self.canary = deploy(aws, template("canary-account"), CANARY, who)
        settings.BASE_PRINCIPAL_ARN = self.ours["BasePrincipalArn"]
        settings.SEAL_KMS_KEY_ARN = self.ours["SealKmsKeyArn"]

    def client(self, service: str, principal: str = "") -> Any:
        """Return a client of a role of ours, or of the administrator of our account."""
        admin = self._aws.client(OURS, service, "us-east-1")
        if not principal:
            return admin
        iam, sts = (self._aws.client(OURS, each, "us-east-1") for each in ("iam", "sts"))
        name = principal.rpartition("/")[2]
        own = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        statement = {"Effect": "Allow", "Principal": {"AWS": iam.get_user()["User"]["Arn"]}, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({**own, "Statement": [*own["Statement"], statement]})
        )
        self.session = sts.assume_role(RoleArn=principal, RoleSessionName="a-process")["Credentials"]
        return boto3.client(
            service,
            region_name=REGION if service == "kms" else "us-east-1",
            endpoint_url=self._aws.endpoint,
            aws_access_key_id=self.session["AccessKeyId"],
            aws_secret_access_key=self.session["SecretAccessKey"],
            aws_session_token=self.session["SessionToken"],
        )


@pytest.fixture
def deployed(aws: LocalAws, settings: Any, tmp_path: Path, db: None) -> Iterator[Deployed]:
    yield Deployed(aws, settings, tmp_path)
    sessions.forget_all()


def refused(attempt: Any) -> None:
    with pytest.raises(ClientError) as error:
        attempt()
    assert error.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


def test_the_first_service_roles_are_taken_over_as_they_are(deployed: Deployed) -> None:
    iam = deployed.client("iam")
    made = {name: iam.get_role(RoleName=name)["Role"]["RoleId"] for name in our_stacks.FIRST}
    for name in our_stacks.FIRST:
        before = iam.get_role_policy(RoleName=name, PolicyName=principals.PROBES)["PolicyDocument"]
        role = opening.open_service_role(name)
        found = iam.get_role(RoleName=name)["Role"]
        assert (role.unique_id, found["Path"]) == (made[name], principals.PATH)
        assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == principals.boundary_arn(OURS)
        assert iam.get_role_policy(RoleName=name, PolicyName=principals.PROBES)["PolicyDocument"] == before
    assert ServiceRole.objects.count() == len(our_stacks.FIRST)


def test_the_base_principal_becomes_service_roles_reads_back_and_signs_and_no_more(deployed: Deployed) -> None:
    base = deployed.ours["BasePrincipalArn"]
    sts = deployed.client("sts", base)
    service = f"arn:aws:iam::{OURS}:role/byok/{our_stacks.FIRST[0]}"
    sts.assume_role(RoleArn=service, RoleSessionName="byok-service")
    refused(lambda: sts.assume_role(RoleArn=deployed.ours["ConfigurationPrincipalArn"], RoleSessionName="byok-x"))
    refused(lambda: sts.assume_role(RoleArn=deployed.canary["CanaryWriterRoleArn"], RoleSessionName="byok-x"))
    iam, kms = deployed.client("iam", base), deployed.client("kms", base)
    iam.list_role_policies(RoleName=our_stacks.FIRST[0])
    refused(lambda: iam.get_role(RoleName="byok-base"))
    refused(lambda: iam.put_role_policy(RoleName=our_stacks.FIRST[0], PolicyName="x", PolicyDocument="{}"))
    signed = {"SigningAlgorithm": "ED25519_SHA_512", "MessageType": "RAW"}
    assert kms.sign(KeyId=deployed.ours["SealKmsKeyArn"], Message=b"a head", **signed)["Signature"]
    refused(lambda: kms.schedule_key_deletion(KeyId=deployed.ours["SealKmsKeyArn"]))
    assert head_signing.signer() is not None


def test_the_configuration_worker_opens_more_by_the_canarys_writer(deployed: Deployed) -> None:
    who = deployed.ours["ConfigurationPrincipalArn"]
    iam, sts = deployed.client("iam", who), deployed.client("sts", who)
    trust = json.dumps(principals.trust_of_service_role(deployed.ours["BasePrincipalArn"]))
    more = {"RoleName": "byok-service-3", "Path": principals.PATH, "AssumeRolePolicyDocument": trust}
    refused(lambda: iam.create_role(**more))
    iam.create_role(**more, PermissionsBoundary=principals.boundary_arn(OURS))
    refused(lambda: iam.put_role_policy(RoleName="byok-base", PolicyName="x", PolicyDocument="{}"))
    refused(lambda: iam.delete_role(RoleName=our_stacks.FIRST[0]))
    writer = sts.assume_role(RoleArn=deployed.canary["CanaryWriterRoleArn"], RoleSessionName="byok")
    assert writer["AssumedRoleUser"]["Arn"].startswith(f"arn:aws:sts::{CANARY}:assumed-role/{principals.WRITER}/")
    refused(
        lambda: sts.assume_role(
            RoleArn=f"arn:aws:iam::{OURS}:role/byok/{our_stacks.FIRST[0]}", RoleSessionName="byok-x"
        )
    )


def preflight_says(deployed: Deployed, settings: Any, folder: Path, principal: str) -> dict[str, list[str]]:
    """Return the levels of each part that asks AWS, in a process of this principal."""
    deployed.client("sts", principal)
    known = json.loads(Path(settings.LOCALAWS_FILE).read_text())
    session = {"access_key_id": "AccessKeyId", "secret_access_key": "SecretAccessKey", "session_token": "SessionToken"}
    known["accounts"][OURS] = {ours: deployed.session[theirs] for ours, theirs in session.items()}
    settings.LOCALAWS_FILE = folder / f"{principal.rpartition('/')[2]}.json"
    settings.LOCALAWS_FILE.write_text(json.dumps(known))
    sessions.forget_all()
    asked = ("identity", "clock", "service role", "canary", "configuration", "quotas", "seal")
    found = list(preflight.look())
    return {part: [each.level for each in found if each.part == part] for part in asked}


@pytest.mark.parametrize("principal", ["BasePrincipalArn", "ConfigurationPrincipalArn"])
def test_preflight_asks_each_principal_what_it_is_for(
    deployed: Deployed, settings: Any, tmp_path: Path, principal: str
) -> None:
    for name in our_stacks.FIRST:
        opening.open_service_role(name)
    settings.CANARY_WRITER_ROLE_ARN = deployed.canary["CanaryWriterRoleArn"]
    said = preflight_says(deployed, settings, tmp_path, deployed.ours[principal])
    assert {part: levels for part, levels in said.items() if "fail" in levels} == {}
    is_base, roles = principal == "BasePrincipalArn", len(our_stacks.FIRST)
    assert len(said["service role"]) == len(said["canary"]) == (roles if is_base else 1)
    assert len(said["configuration"]) == (1 if is_base else roles + 2)


def test_preflight_says_what_the_configuration_worker_lacks(deployed: Deployed, settings: Any, tmp_path: Path) -> None:
    opening.open_service_role(our_stacks.FIRST[0])
    settings.CANARY_WRITER_ROLE_ARN = f"arn:aws:iam::{CANARY}:role/another"
    iam, name = deployed.client("iam"), deployed.ours["ConfigurationPrincipalArn"].rpartition("/")[2]
    for each in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=each["PolicyArn"])
    said = preflight_says(deployed, settings, tmp_path, deployed.ours["ConfigurationPrincipalArn"])
    assert said["configuration"] == ["fail", "fail"]
    assert (said["service role"], said["canary"]) == (["ok"], ["ok"])


@pytest.mark.slow
def test_the_bucket_for_copies_keeps_what_is_written(aws: LocalAws) -> None:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        keys = {"aws_access_key_id": "escrow", "aws_secret_access_key": "a secret of tests"}
        at = "http://{}:{}".format(*server.get_host_and_port())
        s3 = boto3.client("s3", endpoint_url=at, region_name="us-east-1", **keys)
        base = f"arn:aws:iam::{OURS}:role/byok-base"
        given = {"BucketName": "byok-copies", "BasePrincipalArn": base, "KeepDays": 400}
        put_out = deploy(aws, template("escrow"), OURS, given, s3=s3)
        assert {name: str(value) for name, value in put_out.items()} == {
            "EscrowBucket": "byok-copies",
            "EscrowRetentionDays": "400",
        }
        policy = json.loads(s3.get_bucket_policy(Bucket="byok-copies")["Policy"])
        s3.delete_bucket_policy(Bucket="byok-copies")  # moto reads no conditions: it would refuse whatever comes
        s3.put_object(Bucket="byok-copies", Key="branch-keys/one", Body=b"a copy")
        kept = s3.head_object(Bucket="byok-copies", Key="branch-keys/one")
        assert kept["ObjectLockMode"] == "GOVERNANCE"
        write, plain = policy["Statement"]
        assert write["Principal"] == {"AWS": base}
        assert write["Action"] == ["s3:PutObject"]
        assert write["Resource"] == "arn:aws:s3:::byok-copies/branch-keys/*"
        assert plain["Effect"] == "Deny"
    finally:
        server.stop()
