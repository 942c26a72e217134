"""The configuration worker's rights: enough for its work, and no way to become an administrator."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from conftest import CUSTOMER, acting, owner_of, save_draft
from django.core.management import call_command

from byokportal.localaws.testing import LocalAws
from keys import services
from keys.aws import iam, sessions
from keys.configuration import apply, opening, room
from keys.models import RoleConfiguration
from keys.policies import principals
from tenants import audit
from tenants import services as tenant_services
from tenants.models import ServiceRole

OURS, CANARY = "999900001111", "999900002222"
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


class Worker:
    """The configuration worker's principal, a user with the policy that we print."""

    def __init__(self, aws: LocalAws, our_iam: Any) -> None:
        self._endpoint = aws.endpoint
        document = json.dumps(principals.configuration_worker(OURS, CANARY))
        self.arn = our_iam.create_user(UserName="byok-configuration")["User"]["Arn"]
        policy = our_iam.create_policy(PolicyName="byok-configuration", PolicyDocument=document)["Policy"]["Arn"]
        our_iam.attach_user_policy(UserName="byok-configuration", PolicyArn=policy)
        self.key = our_iam.create_access_key(UserName="byok-configuration")["AccessKey"]

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        given = credentials or self.key
        return boto3.client(
            service,
            region_name="us-east-1",
            endpoint_url=self._endpoint,
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given.get("SessionToken"),
        )

    def become(self, role_arn: str) -> Any:
        return self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="escape")["Credentials"]


@pytest.fixture
def our_iam(aws: LocalAws, service_role: ServiceRole) -> Any:
    return aws.client(OURS, "iam", "us-east-1")


@pytest.fixture
def worker(aws: LocalAws, our_iam: Any) -> Worker:
    return Worker(aws, our_iam)


@pytest.fixture
def as_worker(worker: Worker, our_iam: Any, settings: Any, tmp_path: Path) -> Worker:
    """Let our own code act as the configuration worker in our account."""
    found = json.loads(settings.LOCALAWS_FILE.read_text())
    settings.BASE_PRINCIPAL_ARN = our_iam.get_user()["User"]["Arn"]
    found["accounts"][OURS] = {
        "access_key_id": worker.key["AccessKeyId"],
        "secret_access_key": worker.key["SecretAccessKey"],
    }
    settings.LOCALAWS_FILE = tmp_path / "localaws.json"
    settings.LOCALAWS_FILE.write_text(json.dumps(found))
    sessions.forget_all()
    return worker


def test_its_rights_are_enough_for_its_work(service_role: ServiceRole, as_worker: Worker) -> None:
    assert sessions.identity(None, "us-east-1").arn == as_worker.arn
    tenant = tenant_services.create_tenant("T", owner_email="t@x.example", actor=audit.COMMAND)
    owner = acting(owner_of(tenant))
    key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    save_draft(tenant, key_arn=key, role_arn=f"arn:aws:iam::{CUSTOMER}:role/R", actor=owner)
    services.submit_registration(tenant, actor=owner)
    configuration = RoleConfiguration.objects.get()
    for _ in range(2):
        apply.apply(str(configuration.pk))
        configuration.refresh_from_db()
        assert (configuration.status, configuration.reason) == ("propagating", "")
    assert principals.PATH in configuration.evidence["policy_arn"]
    opened = opening.open_service_role()
    assert principals.PATH in opened.arn
    assert room.keep() is None
    assert iam.read_policy(configuration.evidence["policy_arn"]) is not None


def test_the_service_roles_that_it_opens_stand_within_the_boundary(our_iam: Any, as_worker: Worker) -> None:
    role = opening.open_service_role()
    found = our_iam.get_role(RoleName=role.name)["Role"]
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == principals.boundary_arn(OURS)
    assert found["Path"] == principals.PATH
    trusted = found["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"]
    assert trusted == our_iam.get_user()["User"]["Arn"], "web and workers become it, the configuration worker does not"


def trusting(arn: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def created(worker: Worker, **options: Any) -> Any:
    given = {
        "RoleName": "byok-service-evil",
        "Path": principals.PATH,
        "AssumeRolePolicyDocument": trusting(worker.arn),
        "PermissionsBoundary": principals.boundary_arn(OURS),
    }
    chosen = {name: value for name, value in {**given, **options}.items() if value is not None}
    return worker.client("iam").create_role(**chosen)["Role"]


def own_policy(worker: Worker) -> str:
    made = worker.client("iam").create_policy(
        PolicyName="byok-service-evil", Path=principals.PATH, PolicyDocument=EVERYTHING
    )
    return str(made["Policy"]["Arn"])


EDGE = principals.boundary_arn(OURS)
SERVICE = {"RoleName": "byok-service-1"}
ESCAPES: dict[str, Callable[[Worker], Any]] = {
    "a role without our boundary": lambda w: created(w, PermissionsBoundary=None),
    "a role with another boundary": lambda w: created(w, PermissionsBoundary=own_policy(w)),
    "a role outside the path": lambda w: created(w, Path="/"),
    "a role of another name": lambda w: created(w, RoleName="administrator"),
    "a policy outside the path": lambda w: w.client("iam").create_policy(
        PolicyName="byok-service-evil", PolicyDocument=EVERYTHING
    ),
    "the boundary written anew": lambda w: w.client("iam").create_policy_version(
        PolicyArn=EDGE, PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "its own policy written anew": lambda w: w.client("iam").create_policy_version(
        PolicyArn=f"arn:aws:iam::{OURS}:policy/byok-configuration", PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "an older version of the boundary": lambda w: w.client("iam").set_default_policy_version(
        PolicyArn=EDGE, VersionId="v1"
    ),
    "the boundary deleted": lambda w: w.client("iam").delete_policy(PolicyArn=EDGE),
    "the boundary taken from a role": lambda w: w.client("iam").delete_role_permissions_boundary(**SERVICE),
    "another boundary for a role": lambda w: w.client("iam").put_role_permissions_boundary(
        **SERVICE, PermissionsBoundary=own_policy(w)
    ),
    "AWS's administrator policy on a service role": lambda w: w.client("iam").attach_role_policy(
        **SERVICE, PolicyArn=ADMINISTRATOR
    ),
    "a policy on a role without our boundary": lambda w: w.client("iam").attach_role_policy(
        RoleName="byok-service-unbounded", PolicyArn=own_policy(w)
    ),
    "an inline policy on a role without our boundary": lambda w: w.client("iam").put_role_policy(
        RoleName="byok-service-unbounded", PolicyName="x", PolicyDocument=EVERYTHING
    ),
    "an inline policy on a role outside the path": lambda w: w.client("iam").put_role_policy(
        RoleName="administrator", PolicyName="x", PolicyDocument=EVERYTHING
    ),
    "a policy on itself": lambda w: w.client("iam").attach_user_policy(
        UserName="byok-configuration", PolicyArn=ADMINISTRATOR
    ),
    "an inline policy on itself": lambda w: w.client("iam").put_user_policy(
        UserName="byok-configuration", PolicyName="x", PolicyDocument=EVERYTHING
    ),
    "a user": lambda w: w.client("iam").create_user(UserName="evil"),
    "an access key of somebody else": lambda w: w.client("iam").create_access_key(UserName="somebody"),
    "the trust policy of a service role": lambda w: w.client("iam").update_assume_role_policy(
        **SERVICE, PolicyDocument=trusting(w.arn)
    ),
    "a service role deleted": lambda w: w.client("iam").delete_role(**SERVICE),
    "a service role's own session": lambda w: w.become(ServiceRole.objects.get().arn),
    "the administrator's session": lambda w: w.become(f"arn:aws:iam::{OURS}:role/administrator"),
    "a role handed to a service": lambda w: w.client("iam").create_instance_profile(InstanceProfileName="evil"),
}


@pytest.mark.parametrize("escape", sorted(ESCAPES))
def test_no_escape_leads_out(worker: Worker, our_iam: Any, escape: str) -> None:
    """The roles that it could climb to are there, and trust our whole account."""
    everybody = trusting(f"arn:aws:iam::{OURS}:root")
    for name, path in (("administrator", "/"), ("byok-service-unbounded", principals.PATH)):
        our_iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=everybody)
    our_iam.create_user(UserName="somebody")
    with pytest.raises(ClientError) as refused:
        ESCAPES[escape](worker)
    assert refused.value.response["Error"]["Code"] == "AccessDenied", escape


def test_a_role_that_it_makes_for_itself_can_do_no_more_than_the_boundary(worker: Worker, our_iam: Any) -> None:
    """It may write any policy under the path, and attach it to a role of its own: the boundary holds all the same."""
    role = created(worker)
    mine = worker.client("iam")
    mine.attach_role_policy(RoleName="byok-service-evil", PolicyArn=own_policy(worker))
    mine.put_role_policy(RoleName="byok-service-evil", PolicyName="x", PolicyDocument=EVERYTHING)
    our_iam.create_role(RoleName="administrator", AssumeRolePolicyDocument=trusting(f"arn:aws:iam::{OURS}:root"))
    # The trust policy that it wrote names it, which is enough in one account.
    session = worker.become(role["Arn"])
    for attempt in (
        lambda: worker.client("iam", session).create_user(UserName="evil"),
        lambda: worker.client("iam", session).list_roles(),
        lambda: worker.client("kms", session).create_key(),
        lambda: worker.client("sts", session).assume_role(
            RoleArn=f"arn:aws:iam::{OURS}:role/administrator", RoleSessionName="escape"
        ),
    ):
        with pytest.raises(ClientError) as refused:
            attempt()
        assert refused.value.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}


def test_in_the_canarys_account_it_makes_canaries_and_nothing_else(
    aws: LocalAws, worker: Worker, service_role: ServiceRole
) -> None:
    theirs = aws.client(CANARY, "iam", "us-east-1")
    writer = theirs.create_role(
        RoleName=principals.WRITER,
        AssumeRolePolicyDocument=json.dumps(principals.trust_of_canary_writer(worker.arn)),
    )["Role"]["Arn"]
    theirs.put_role_policy(
        RoleName=principals.WRITER, PolicyName="x", PolicyDocument=json.dumps(principals.canary_writer(CANARY))
    )
    there = worker.client("iam", worker.become(writer))
    edge = principals.boundary_arn(CANARY)
    trust = trusting(service_role.arn)
    canary = {"RoleName": "byok-canary-x", "Path": principals.PATH, "AssumeRolePolicyDocument": trust}
    there.create_role(**canary, PermissionsBoundary=edge)
    there.update_assume_role_policy(RoleName="byok-canary-x", PolicyDocument=trust)
    there.put_role_policy(RoleName="byok-canary-x", PolicyName="x", PolicyDocument=EVERYTHING)
    theirs.create_role(RoleName="administrator", AssumeRolePolicyDocument=trust)
    for attempt in (
        lambda: there.create_role(**{**canary, "RoleName": "byok-canary-y"}),
        lambda: there.create_role(**{**canary, "RoleName": "z"}, PermissionsBoundary=edge),
        lambda: there.update_assume_role_policy(RoleName="administrator", PolicyDocument=trust),
        lambda: there.update_assume_role_policy(RoleName=principals.WRITER, PolicyDocument=trust),
        lambda: there.put_role_policy(RoleName=principals.WRITER, PolicyName="x", PolicyDocument=EVERYTHING),
        lambda: there.delete_role_permissions_boundary(RoleName="byok-canary-x"),
        lambda: there.delete_role(RoleName="byok-canary-x"),
        lambda: there.create_user(UserName="evil"),
    ):
        with pytest.raises(ClientError) as refused:
            attempt()
        assert refused.value.response["Error"]["Code"] == "AccessDenied"


@pytest.mark.django_db
def test_the_command_prints_what_goes_where(service_role: ServiceRole) -> None:
    ServiceRole.objects.update(arn=f"arn:aws:iam::{OURS}:role/byok-service-1")  # one from before there was a path
    out = StringIO()
    call_command("our_principals", "--configuration-principal", f"arn:aws:iam::{OURS}:role/c", stdout=out)
    printed = json.loads(out.getvalue())
    assert f"arn:aws:iam::{OURS}:role/byok-service-1" in json.dumps(printed["configuration_worker"])
    assert f"arn:aws:iam::{OURS}:role/byok-service-1" in json.dumps(printed["base_principal"])
    assert f"arn:aws:iam::{OURS}:role/c" in json.dumps(printed["canary_writer_trust"])
    for name, document in printed.items():
        if isinstance(document, dict) and name != "canary_writer_trust":
            assert len("".join(json.dumps(document).split())) <= 6_144, name
