"""The customer's engineer on the local AWS: does steps 1 to 3 of the guide, right or with one of the `mistakes`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.mistakes.definition import Mistake, Policy, Values
from byokportal.localaws.mistakes.key_policy import DELEGATES
from keys.policies import documents

BOUNDARY, INLINE = "AIforWorkBoundary", "HouseRules"
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@dataclass(slots=True)
class Engineer:
    """Acts with the customer account's administrator user; doing a step again mends or breaks what is there."""

    session: Any  # a boto3.Session
    endpoint: str
    account: str
    region: str = "eu-central-1"

    def client(self, service: str, region: str = "") -> Any:
        return self.session.client(service, endpoint_url=self.endpoint, region_name=region or self.region)

    # --- step 1 ------------------------------------------------------------------------------------------------------

    def create_key(self, *, broken: str = "") -> str:
        """Make a new CMK; return the ARN to give in the portal."""
        mistake = _mistake(broken, 1)
        kms = self.client("kms")
        if broken == "aws-managed-key":
            return str(kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"])
        is_state = mistake is not None and mistake.on == "key-state"
        options = dict(mistake.options) if mistake and not is_state else {}
        state = mistake.options["is"] if mistake and is_state else ""
        if state in {"replicas deleted", "replica"}:
            options = {"MultiRegion": True}
        arn: str = kms.create_key(Description="Kore.ai BYOK", **options)["KeyMetadata"]["Arn"]
        if state in {"replicas deleted", "replica"}:
            replica: str = kms.replicate_key(KeyId=arn, ReplicaRegion="eu-west-1")["ReplicaKeyMetadata"]["Arn"]
        if state == "replica":
            return replica
        if state == "disabled":
            kms.disable_key(KeyId=arn)
        elif state:
            kms.schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
        if mistake and mistake.on == "key-arn" and mistake.change:
            return str(mistake.change(arn, Values(self.account, "", "")))
        return arn

    # --- step 2 ------------------------------------------------------------------------------------------------------

    def create_role(self, *, trust: str, permissions: str, external_id: str, broken: str = "") -> str:
        """Create the role, or correct the one that is there, with both policies;
        return the ARN to give in the portal."""
        mistake = _mistake(broken, 2)
        iam = self.client("iam", "us-east-1")
        trust_policy, permissions_policy = json.loads(trust), json.loads(permissions)
        key_arn = _listed(permissions_policy["Statement"][0]["Resource"])[-1]
        values = Values(self.account, trust_policy["Statement"][0]["Principal"]["AWS"], external_id, key_arn)
        on, change = (mistake.on, mistake.change) if mistake else ("", None)
        if on in {"trust", "permissions"} and change:
            change(trust_policy if on == "trust" else permissions_policy, values)
        what = mistake.options if mistake and on == "role" else {}
        name = self._role_name(iam, external_id)
        path = str(mistake.options.get("Path", "/")) if mistake and on == "role-arn" else "/"
        arn = self._role(iam, name, path, trust_policy, external_id)
        self._attach(iam, name, permissions_policy, attach=what.get("is") != "bare")
        self._house_rules(iam, name, denies=what.get("is") == "denied")
        self._bound(iam, name, what, values)
        if what.get("is") == "deleted":
            self._delete(iam, name)
        return str(change(arn, values)) if on == "role-arn" and change else arn

    def set_trust(self, role_arn: str, document: str) -> None:
        """Replace the trust policy of a role by a document as it stands."""
        iam = self.client("iam", "us-east-1")
        iam.update_assume_role_policy(RoleName=role_arn.rpartition("/")[2], PolicyDocument=document)

    def set_permissions(self, role_arn: str, document: str) -> None:
        """Replace the permissions policy of a role by a document as it stands, and attach it."""
        self._attach(self.client("iam", "us-east-1"), role_arn.rpartition("/")[2], json.loads(document), attach=True)

    def set_boundary(self, role_arn: str, document: str) -> None:
        """Replace what the permissions boundary of a role allows."""
        self._version(self.client("iam", "us-east-1"), BOUNDARY, json.loads(document))

    def spare(self, role_arn: str, condition: Policy) -> None:
        """Add a condition to each Deny of the policies attached to a role, of its inline policies and its boundary."""
        iam, name = self.client("iam", "us-east-1"), role_arn.rpartition("/")[2]
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        bound = iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        for arn in [*(found["PolicyArn"] for found in attached), *([bound] if bound else [])]:
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
            if spared(policy, condition):
                self._version(iam, arn.rpartition("/")[2], policy)
        for inline in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            policy = iam.get_role_policy(RoleName=name, PolicyName=inline)["PolicyDocument"]
            if spared(policy, condition):
                iam.put_role_policy(RoleName=name, PolicyName=inline, PolicyDocument=json.dumps(policy))

    def spare_in_key_policy(self, key_arn: str, condition: Policy) -> None:
        """Add a condition to each Deny of a key policy."""
        kms = self.client("kms", key_arn.split(":")[3])
        policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
        if spared(policy, condition):
            kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))

    def _role(self, iam: Any, name: str, path: str, trust: Policy, external_id: str) -> str:
        try:
            arn: str = iam.create_role(
                RoleName=name,
                Path=path,
                AssumeRolePolicyDocument=json.dumps(trust),
                Tags=[{"Key": "kore-external-id", "Value": external_id}],
            )["Role"]["Arn"]
        except iam.exceptions.EntityAlreadyExistsException:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
            arn = iam.get_role(RoleName=name)["Role"]["Arn"]
        return arn

    def _role_name(self, iam: Any, external_id: str) -> str:
        """Return the guide's role name, or one beside it where another tenant's role has that name."""
        suffix = external_id[-6:].strip("-_")
        beside = f"{documents.ROLE_NAME}-{suffix}"
        try:
            role = iam.get_role(RoleName=documents.ROLE_NAME)["Role"]
        except iam.exceptions.NoSuchEntityException:
            return documents.ROLE_NAME
        tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
        is_mine = tags.get("kore-external-id") == external_id or external_id in json.dumps(
            role["AssumeRolePolicyDocument"]
        )
        return documents.ROLE_NAME if is_mine else beside

    def _attach(self, iam: Any, role_name: str, policy: Policy, *, attach: bool) -> None:
        arn = self._version(iam, documents.POLICY_NAME + role_name.removeprefix(documents.ROLE_NAME), policy)
        attached = {
            found["PolicyArn"] for found in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]
        }
        if attach and arn not in attached:
            iam.attach_role_policy(RoleName=role_name, PolicyArn=arn)
        if not attach and arn in attached:
            iam.detach_role_policy(RoleName=role_name, PolicyArn=arn)

    def _version(self, iam: Any, name: str, policy: Policy) -> str:
        """Write a managed policy, in place of what it says now; return its ARN."""
        arn = f"arn:aws:iam::{self.account}:policy/{name}"
        try:
            iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
        except iam.exceptions.EntityAlreadyExistsException:
            for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
                if not version["IsDefaultVersion"]:
                    iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
            iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy), SetAsDefault=True)
        return arn

    def _house_rules(self, iam: Any, role_name: str, *, denies: bool) -> None:
        if denies:
            deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "kms:*", "Resource": "*"}]}
            iam.put_role_policy(RoleName=role_name, PolicyName=INLINE, PolicyDocument=json.dumps(deny))
        elif INLINE in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=role_name, PolicyName=INLINE)

    def _bound(self, iam: Any, role_name: str, what: Any, values: Values) -> None:
        """Give the role a permissions boundary that lacks or denies an action, or take the boundary away."""
        if what.get("is") != "bounded":
            if "PermissionsBoundary" in iam.get_role(RoleName=role_name)["Role"]:
                iam.delete_role_permissions_boundary(RoleName=role_name)
            return
        allow = {
            "Effect": "Allow",
            "Action": [a for a in documents.ACTIONS if a != what.get("without")],
            "Resource": "*",
            **({"Condition": what["only"]} if "only" in what else {}),
        }
        condition = {"Condition": what["condition"](values)} if "condition" in what else {}
        deny = [{"Effect": "Deny", "Action": what["deny"], "Resource": "*", **condition}] if "deny" in what else []
        arn = self._version(iam, BOUNDARY, {"Version": "2012-10-17", "Statement": [allow, *deny]})
        iam.put_role_permissions_boundary(RoleName=role_name, PermissionsBoundary=arn)

    def _delete(self, iam: Any, role_name: str) -> None:
        for found in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=role_name, PolicyArn=found["PolicyArn"])
        iam.delete_role(RoleName=role_name)

    # --- step 3 ------------------------------------------------------------------------------------------------------

    def grant(self, *, key_arn: str, statement: str, trust: str = "", broken: str = "") -> None:
        """Add the statement to the key policy, in place of one of the same Sid,
        and take away what a mistake put beside it.

        Args:
            trust: the trust policy of the tenant, of which some mistakes borrow our ARN.
        """
        mistake = _mistake(broken, 3)
        kms = self.client("kms", key_arn.split(":")[3])
        wanted = json.loads(statement)
        service_role = json.loads(trust)["Statement"][0]["Principal"]["AWS"] if trust else ""
        values = Values(self.account, service_role, "", key_arn, _listed(wanted["Principal"]["AWS"])[0])
        if mistake and mistake.on == "statement" and mistake.change:
            mistake.change(wanted, values)
        policy = json.loads(kms.get_key_policy(KeyId=key_arn, PolicyName="default")["Policy"])
        policy["Statement"] = [
            found for found in policy["Statement"] if found.get("Sid") not in {wanted["Sid"], "KeepOut", "Describe"}
        ]
        # The console's default statement lets IAM policies decide; without it ours alone does, as in a strict account.
        if broken not in {"", DELEGATES}:
            for found in policy["Statement"]:
                if found.get("Principal") == {"AWS": f"arn:aws:iam::{self.account}:root"}:
                    found["Condition"] = {"StringLike": {"aws:PrincipalArn": f"arn:aws:iam::{self.account}:user/*"}}
        policy["Statement"].append(wanted)
        if mistake and mistake.on == "key-policy" and mistake.change:
            mistake.change(policy, values)
        kms.put_key_policy(KeyId=key_arn, PolicyName="default", Policy=json.dumps(policy))


def spared(policy: Policy, condition: Policy) -> bool:
    """Add conditions to each Deny of a policy, in place, as the page of the test says: to a list that is there
    already, else beside what is there. Tell whether there was a Deny."""
    denies = [statement for statement in policy["Statement"] if statement["Effect"] == "Deny"]
    for statement in denies:
        for operator, keys in condition.items():
            there = statement.setdefault("Condition", {}).setdefault(operator, {})
            for key, value in keys.items():
                there[key] = [*_listed(there.get(key, [])), value]
    return bool(denies)


def _listed(names: str | list[str]) -> list[str]:
    """Return keys or roles as a list: a document names two of them while one replaces the other, the new role first,
    the new key last."""
    return names if isinstance(names, list) else [names]


def _mistake(name: str, step: int) -> Mistake | None:
    """Return a mistake of that step, None for none.

    Raises:
        ValueError: it belongs to another step.
    """
    if not name:
        return None
    if MISTAKES[name].step != step:
        raise ValueError(f"{name} belongs to step {MISTAKES[name].step}: {MISTAKES[name].words}.")
    return MISTAKES[name]
