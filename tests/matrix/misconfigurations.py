"""The matrix: every misconfiguration, what is truly wrong with it, where it is to be mended, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from conftest import CUSTOMER, OTHER_CUSTOMER

from byokportal.localaws.engineer import Engineer
from byokportal.localaws.mistakes import MISTAKES
from byokportal.localaws.mistakes.definition import short
from byokportal.localaws.mistakes.key_policy import DELEGATES
from byokportal.localaws.testing import LocalAws
from keys.models import ServiceRolePolicy
from keys.policies import documents
from tenants.models import Tenant

TRUST, PERMIT, STATEMENT, THE_KEY = "trust-policy", "permissions-policy", "key-policy-statement", "key"
FULL_ACCESS = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
# How the tenant mends it: by the corrected document, by giving another ARN, by an operation in AWS that the remedy
# names; by nothing of its own, because it is ours; or it need not, because it is a warning.
Mend = Literal["document", "arn", "operation", "ours", "warning"]


@dataclass
class Scene:
    """One customer on the local AWS, with what a row has done there."""

    aws: LocalAws
    tenant: Tenant
    engineer: Engineer  # of the role's account
    keeper: Engineer  # of the key's account
    key_arn: str = ""
    role_arn: str = ""
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> Any:
        return self.aws.client(self.tenant.service_role.account_id, "iam", "us-east-1")

    @property
    def canary(self) -> Any:
        return self.aws.client("999900002222", "iam", "us-east-1")

    @property
    def service_role(self) -> str:
        return self.tenant.service_role.name

    @property
    def canary_role(self) -> str:
        return self.tenant.service_role.canary_role_arn.rpartition("/")[2]


Operation = Callable[[Scene], object]


@dataclass(frozen=True)
class Row:
    """One misconfiguration.

    Args:
        causes: the true ones; every one of them has to be among those that are named.
        steps: of the checks that fail.
        documents: that the failed checks say to change.
        is_single: AWS's answers leave one cause only, so every failed check names one.
        across: role and key are in different accounts.
        late: what happens after both ARNs were shared and our side was configured.
        undo: what the remedy says to do in AWS, or how our side is mended.
    """

    name: str
    causes: frozenset[str]
    steps: frozenset[int]
    documents: frozenset[str]
    mend: Mend
    mistakes: tuple[str, ...] = ()
    is_single: bool = True
    across: bool = False
    late: Operation | None = None
    undo: Operation | None = None


ROWS: list[Row] = []


def row(
    name: str,
    cause: str | tuple[str, ...],
    step: int | tuple[int, ...],
    document: str | tuple[str, ...],
    mend: Mend,
    **more: Any,
) -> None:
    def several(value: Any) -> frozenset[Any]:
        return frozenset(value if isinstance(value, tuple) else (value,))

    mistakes = more.pop("mistakes", (name,) if name in MISTAKES else ())
    ROWS.append(Row(name, several(cause), several(step), several(document), mend, mistakes, **more))


# --- step 1: the key --------------------------------------------------------------------------------------------------


def _enable(scene: Scene) -> None:
    scene.keeper.client("kms").enable_key(KeyId=scene.key_arn)


def _cancel_deletion(scene: Scene) -> None:
    scene.keeper.client("kms").cancel_key_deletion(KeyId=scene.key_arn)
    _enable(scene)


def _with_state(state: str) -> Operation:
    return lambda scene: scene.aws.set_fault("key-state", state, key=scene.key_arn)


def _fair(scene: Scene) -> None:
    scene.aws.faults.clear()


for name in ("asymmetric-key", "rsa-4096-key"):
    row(name, "key_wrong_spec", 1, THE_KEY, "arn")
for name in ("signing-key", "ecc-key", "ecc-k1-key", "hmac-key"):
    row(name, "key_wrong_usage", 1, THE_KEY, "arn")
row("aws-managed-key", "aws_managed_key", 1, THE_KEY, "arn")
row("unimported-key", "key_pending_import", 1, THE_KEY, "arn")
row("disabled-key", "key_disabled", 1, THE_KEY, "operation", undo=_enable)
row(
    "disabled-key across",
    "key_disabled",
    1,
    THE_KEY,
    "operation",
    mistakes=("disabled-key",),
    across=True,
    undo=_enable,
)
row("deleted-key", "key_pending_deletion", 1, THE_KEY, "operation", undo=_cancel_deletion)
row(
    "deleted-key across",
    "key_pending_deletion",
    1,
    THE_KEY,
    "operation",
    mistakes=("deleted-key",),
    across=True,
    undo=_cancel_deletion,
)
row("unimported-key across", "key_pending_import", 1, THE_KEY, "arn", mistakes=("unimported-key",), across=True)
row("asymmetric-key across", "key_wrong_spec", 1, THE_KEY, "arn", mistakes=("asymmetric-key",), across=True)
row("signing-key across", "key_wrong_usage", 1, THE_KEY, "arn", mistakes=("signing-key",), across=True)
row("hmac-key across", "key_wrong_usage", 1, THE_KEY, "arn", mistakes=("hmac-key",), across=True)
row("deleted-primary-key", "key_pending_replica_deletion", 1, THE_KEY, "operation", undo=_cancel_deletion)
row(
    "disconnected-key-store",
    "custom_key_store_disconnected",
    1,
    THE_KEY,
    "operation",
    late=_with_state("Unavailable"),
    undo=_fair,
)
row(
    "key-state-deleted-late",
    "key_pending_deletion",
    1,
    THE_KEY,
    "operation",
    late=_with_state("PendingDeletion"),
    undo=_fair,
)
# A key that AWS does not find: nothing tells a wrong id from a wrong Region.
row("missing-key", "key_not_found", 1, THE_KEY, "arn", is_single=False)
row("key-in-other-region", "key_wrong_region", 1, THE_KEY, "arn", is_single=False)
row("missing-replica", "mrk_replica_missing", 1, THE_KEY, "arn", is_single=False)
# In another account AWS does not say whether there is such a key: its statement is what is looked for first.
row("key-of-other-account", "key_not_found", 3, STATEMENT, "arn", is_single=False)

# --- step 2: trust that is too wide -----------------------------------------------------------------------------------

NOT_REQUIRED, NOT_EXACT, EVERYBODY = (
    "external_id_not_required",
    "external_id_not_exact",
    "trust_policy_allows_everybody",
)
for name in (
    "no-external-id",
    "not-an-external-id",
    "not-like-an-external-id",
    "other-condition",
    "second-statement",
    "second-anybody",
    "console-default",
    "anybody-at-all",
):
    row(name, (NOT_REQUIRED, NOT_EXACT), 2, TRUST, "document")
for name in ("optional-external-id", "optional-external-id-like", "for-all-values"):
    row(name, NOT_REQUIRED, 2, TRUST, "document")
for name in (
    "any-external-id",
    "any-byok-id",
    "any-length-id",
    "list-with-any-id",
    "some-external-id",
    "second-any-id",
):
    row(name, NOT_EXACT, 2, TRUST, "document")
for name in ("anybody", "anybody-in-aws", "anybody-listed", "everybody-but"):
    row(name, EVERYBODY, 2, TRUST, "document")
row("whole-account", (), 2, (), "warning")

# --- step 2: a role that does not let us in. Across accounts AWS says the same of all of them -------------------------

for name in ("external-id-without-prefix", "external-id-lower-case", "external-id-upper-case"):
    row(name, "external_id_mismatch", 2, TRUST, "document")
row("our-user", "trust_policy_principal_mismatch", 2, TRUST, "document")
for name in ("wrong-external-id", "external-id-with-space", "external-id-typo"):
    row(name, "external_id_mismatch", 2, TRUST, "document", is_single=False)
for name in ("wrong-principal", "stale-principal"):
    row(name, "trust_policy_principal_mismatch", 2, TRUST, "document", is_single=False)
row("trust-denies", "trust_policy_explicit_deny", 2, TRUST, "document", is_single=False)
for name in ("trust-with-ip", "trust-with-mfa", "trust-with-session-name"):
    row(name, "trust_policy_condition_failed", 2, TRUST, "document", is_single=False)
row("trust-other-action", "trust_policy_missing_action", 2, TRUST, "document", is_single=False)
for name in (
    "missing-role",
    "role-arn-other-name",
    "role-arn-lower-case",
    "role-arn-without-path",
    "role-arn-other-account",
):
    row(name, "role_not_found", 2, TRUST, "arn", is_single=False)


for name in ("trust-guardrail-region", "trust-guardrail-principal"):
    row(name, "trust_policy_explicit_deny", 2, TRUST, "document", is_single=False)
row("trust-with-region", "trust_policy_condition_failed", 2, TRUST, "document", is_single=False)


def _organization(*, scps: list[Any] | None = None, rcps: list[Any] | None = None, of: str = CUSTOMER) -> Operation:
    def late(scene: Scene) -> None:
        scene.kept["organization"] = (of, scps or [], rcps or [])
        scene.aws.organization(of, scps=scps or [], rcps=rcps or [])

    return late


def _no_organization(scene: Scene) -> None:
    for account in (CUSTOMER, OTHER_CUSTOMER):
        scene.aws.organization(account)


def _deny(*actions: str, principal: bool = False, **condition: Any) -> dict[str, Any]:
    everybody = {"Principal": "*"} if principal else {}
    deny = {"Effect": "Deny", "Action": list(actions), "Resource": "*", **everybody}
    deny |= {"Condition": condition} if condition else {}
    return {"Version": "2012-10-17", "Statement": [deny]}


def _all(*, principal: bool = False) -> dict[str, Any]:
    everybody = {"Principal": "*"} if principal else {}
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", **everybody}]}


def _only(*actions: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


row(
    "rcp-denies-assume-role",
    "customer_rcp_deny",
    2,
    TRUST,
    "operation",
    is_single=False,
    late=_organization(rcps=[_all(principal=True), _deny("sts:AssumeRole", principal=True)]),
    undo=_no_organization,
)

# --- step 2: what the role may do -------------------------------------------------------------------------------------

for action in documents.ACTIONS:
    row(
        f"permissions-without-{short(action)}",
        "role_permissions_policy_missing_action",
        2,
        PERMIT,
        "document",
        across=True,
    )
    row(f"permissions-deny-{short(action)}", "role_permissions_policy_explicit_deny", 2, PERMIT, "document")
    row(f"boundary-without-{short(action)}", "role_permissions_boundary", 2, "permissions-boundary", "document")
    row(
        f"scp-denies-{short(action)}",
        "customer_scp_deny",
        2,
        "service-control-policy",
        "document",
        late=_organization(scps=[_all(), _deny(action)]),
    )
    row(
        f"rcp-denies-{short(action)}",
        "customer_rcp_deny",
        3,
        "resource-control-policy",
        "document",
        late=_organization(rcps=[_all(principal=True), _deny(action, principal=True)]),
    )
    row(
        f"permissions-deny-{short(action)} across",
        "role_permissions_policy_explicit_deny",
        2,
        PERMIT,
        "document",
        mistakes=(f"permissions-deny-{short(action)}",),
        across=True,
    )
    row(
        f"scp-denies-{short(action)} across",
        "customer_scp_deny",
        2,
        "service-control-policy",
        "document",
        across=True,
        late=_organization(scps=[_all(), _deny(action)]),
    )
    # The console's key policy leaves it to the IAM policies: there the permissions policy alone decides.
    row(
        f"permissions-without-{short(action)} + {DELEGATES}",
        "role_permissions_policy_missing_action",
        2,
        PERMIT,
        "document",
        mistakes=(f"permissions-without-{short(action)}", DELEGATES),
    )
    row(f"boundary-deny-{short(action)}", "role_permissions_boundary", 2, "permissions-boundary", "document")
    row(
        f"boundary-without-{short(action)} across",
        "role_permissions_boundary",
        2,
        "permissions-boundary",
        "document",
        mistakes=(f"boundary-without-{short(action)}",),
        across=True,
    )
    row(
        f"scp-lacks-{short(action)}",
        "customer_scp_deny",
        2,
        "service-control-policy",
        "operation",
        late=_organization(scps=[_only(*(other for other in documents.ACTIONS if other != action), "sts:*", "iam:*")]),
        undo=_no_organization,
    )
    row(
        f"rcp-denies-{short(action)} across",
        "customer_rcp_deny",
        3,
        "resource-control-policy",
        "document",
        across=True,
        late=_organization(rcps=[_all(principal=True), _deny(action, principal=True)], of=OTHER_CUSTOMER),
    )
for name in (
    "permissions-plain-GenerateDataKey",
    "permissions-plain-ReEncrypt",
    "permissions-encrypt-only",
):
    row(name, "role_permissions_policy_missing_action", 2, PERMIT, "document", across=True)
# What the words of a Deny say is certain; what a Deny spares the corrected condition adds.
for name, where in {"permissions": PERMIT, "boundary": "permissions-boundary"}.items():
    cause = "role_permissions_boundary" if name == "boundary" else "role_permissions_policy_explicit_deny"
    for guardrail in (f"{name}-guardrail-region", f"{name}-guardrail-principal"):
        row(guardrail, cause, 2, where, "document")
        row(f"{guardrail} across", cause, 2, where, "document", mistakes=(guardrail,), across=True)
row("boundary-with-region", "role_permissions_boundary", 2, "permissions-boundary", "document")
# Only DescribeKey is seen to work, which a second policy that reads all keys allows as well.
for name in ("permissions-read-only", "permissions-decrypt-only"):
    row(name, "role_permissions_policy_missing_action", 2, PERMIT, "document", across=True, is_single=False)
# An unmet condition reads as an action that is missing, or another key.
for name in ("permissions-with-ip", "permissions-with-region"):
    row(name, "role_permissions_policy_missing_action", 2, PERMIT, "document", across=True, is_single=False)
row("permissions-context-refused", "role_permissions_policy_missing_action", 2, PERMIT, "document", across=True)
for name in ("permissions-other-key", "permissions-alias", "permissions-other-region"):
    row(name, "role_permissions_policy_wrong_key_arn", 2, PERMIT, "document", across=True, is_single=False)
row("no-permissions", "role_permissions_policy_missing_action", 2, PERMIT, "document", across=True, is_single=False)


row("inline-deny", "role_permissions_policy_explicit_deny", 2, PERMIT, "document")
row(
    "boundary-deny-Decrypt across",
    "role_permissions_boundary",
    2,
    "permissions-boundary",
    "document",
    mistakes=("boundary-deny-Decrypt",),
    across=True,
)
row(
    "scp-denies-all across",
    "customer_scp_deny",
    2,
    "service-control-policy",
    "document",
    across=True,
    late=_organization(scps=[_all(), _deny("kms:*")]),
)
row(
    "inline-deny across",
    "role_permissions_policy_explicit_deny",
    2,
    PERMIT,
    "document",
    mistakes=("inline-deny",),
    across=True,
)
row(DELEGATES, (), (), (), "warning")
row("wide-permissions", (), 2, (), "warning", across=True)
row("two-accounts", (), 2, (), "warning", across=True)
row("imported-material", (), 1, (), "warning", late=lambda scene: _imported(scene))


def _imported(scene: Scene) -> None:
    """Let the key be one whose material was imported: moto keeps the origin, the local AWS the state."""
    from moto.kms.models import kms_backends

    kms_backends[CUSTOMER]["eu-central-1"].keys[scene.key_arn.rpartition("/")[2]].origin = "EXTERNAL"


row(
    "scp-allows-nothing",
    "customer_scp_deny",
    2,
    "service-control-policy",
    "operation",
    late=_organization(
        scps=[{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}]
    ),
    undo=_no_organization,
)
row(
    "rcp-denies-kms across",
    "customer_rcp_deny",
    3,
    "resource-control-policy",
    "document",
    across=True,
    late=_organization(rcps=[_all(principal=True), _deny("kms:*", principal=True)], of=OTHER_CUSTOMER),
)

# --- step 3: the key policy -------------------------------------------------------------------------------------------


def _another_role(scene: Scene) -> None:
    """The role is deleted and made anew under its name: the key policy shows the id of the one that is gone."""
    iam, name = scene.engineer.client("iam", "us-east-1"), scene.role_arn.rpartition("/")[2]
    trust = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    attached = [found["PolicyArn"] for found in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
    for arn in attached:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    for arn in attached:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)


row(
    "role-recreated",
    ("key_policy_missing_statement", "key_policy_wrong_principal"),
    3,
    STATEMENT,
    "document",
    mistakes=("administration",),
    is_single=False,
    late=_another_role,
)
row(
    "role-recreated across",
    ("key_policy_missing_statement", "key_policy_wrong_principal"),
    3,
    STATEMENT,
    "document",
    across=True,
    is_single=False,
    late=_another_role,
)


def _no_deny(scene: Scene) -> None:
    kms = scene.keeper.client("kms")
    policy = json.loads(kms.get_key_policy(KeyId=scene.key_arn, PolicyName="default")["Policy"])
    policy["Statement"] = [found for found in policy["Statement"] if found["Effect"] != "Deny"]
    kms.put_key_policy(KeyId=scene.key_arn, PolicyName="default", Policy=json.dumps(policy))


for action in documents.ACTIONS:
    row(f"key-policy-without-{short(action)}", "key_policy_missing_action", 3, STATEMENT, "document")
    row(f"key-policy-deny-{short(action)}", "key_policy_explicit_deny", 3, STATEMENT, "document")
row("key-policy-deny-all", "key_policy_explicit_deny", 3, STATEMENT, "document")
for name in (
    "key-policy-plain-GenerateDataKey",
    "key-policy-only-ReEncryptFrom",
    "key-policy-without-Encrypt-and-Decrypt",
    "key-policy-encrypt-only",
    "key-policy-without-Decrypt-and-ReEncrypt",
):
    row(name, "key_policy_missing_action", 3, STATEMENT, "document")
# Nothing could be encrypted, so nothing shows that Decrypt is allowed: a condition on the context would look the same.
row("key-policy-decrypt-only", "key_policy_missing_action", 3, STATEMENT, "document", is_single=False)
# Across accounts AWS hides whether a Deny decided.
row(
    "key-policy-without-Encrypt across",
    "key_policy_missing_action",
    3,
    STATEMENT,
    "document",
    mistakes=("key-policy-without-Encrypt",),
    across=True,
    is_single=False,
)
row(
    "key-policy-deny-Decrypt across",
    "key_policy_explicit_deny",
    3,
    STATEMENT,
    "operation",
    mistakes=("key-policy-deny-Decrypt",),
    across=True,
    is_single=False,
    undo=_no_deny,
)
for name in (
    "key-policy-guardrail-region",
    "key-policy-guardrail-principal",
    "key-policy-guardrail-list",
    "key-policy-not-principal",
):
    row(name, "key_policy_explicit_deny", 3, STATEMENT, "document")
row("no-key-statement", "key_policy_missing_statement", 3, STATEMENT, "document", is_single=False)
# DescribeKey works, and nothing says whether our statement is there.
for name, cause in {
    "administration-no-statement": "key_policy_missing_statement",
    "administration-stale-principal": "key_policy_wrong_principal",
    "administration-other-principal": "key_policy_wrong_principal",
    "administration-service-role": "key_policy_wrong_principal",
    "administration-via-service": "key_policy_condition_failed",
    "administration-describe-only": "key_policy_missing_action",
}.items():
    expected = (cause, "key_policy_missing_statement", "key_policy_wrong_principal")
    row(name, expected, 3, STATEMENT, "document", is_single=False)
row("administration", (), (), (), "warning")
row("replica-key", (), (), (), "warning")
row(
    "replica-key + administration-no-statement",
    ("key_policy_missing_statement", "key_policy_wrong_principal"),
    3,
    STATEMENT,
    "document",
    mistakes=("replica-key", "administration-no-statement"),
    is_single=False,
)
row(
    "no-key-statement across",
    "key_policy_missing_statement",
    3,
    STATEMENT,
    "document",
    mistakes=("no-key-statement",),
    across=True,
    is_single=False,
)
for name in ("key-policy-other-principal", "key-policy-stale-principal"):
    row(name, "key_policy_wrong_principal", 3, STATEMENT, "document", is_single=False)
for name in ("key-policy-service-role", "key-policy-our-account"):
    row(name, "key_policy_wrong_principal", 3, STATEMENT, "document")
for name in ("key-policy-via-service", "key-policy-with-ip", "key-policy-caller-account", "key-policy-with-region"):
    row(name, "key_policy_condition_failed", 3, STATEMENT, "document", is_single=False)
for name in ("key-policy-context-needed", "key-policy-context-keys", "key-policy-context-refused"):
    row(name, "key_policy_condition_failed", 3, STATEMENT, "document")

# --- guardrails: a Deny for everybody but a few, outside some Regions or one organization, wherever a bank puts it ----

ADMINS = {
    "ArnNotLike": {
        "aws:PrincipalArn": [f"arn:aws:iam::{account}:user/administrator" for account in (CUSTOMER, OTHER_CUSTOMER)]
    }
}
CONDITIONS = {
    "region": {"StringNotEquals": {"aws:RequestedRegion": ["us-west-2"]}},
    "principal": ADMINS,
    "organization": {"StringNotEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
}


def _denied_by_permissions(deny: dict[str, Any]) -> Operation:
    def late(scene: Scene) -> None:
        policy = documents.permissions_policy(scene.key_arn)
        policy["Statement"] += deny["Statement"]
        scene.engineer.set_permissions(scene.role_arn, json.dumps(policy))

    return late


def _denied_inline(deny: dict[str, Any]) -> Operation:
    return lambda scene: scene.engineer.client("iam", "us-east-1").put_role_policy(
        RoleName=scene.role_arn.rpartition("/")[2], PolicyName="Guardrail", PolicyDocument=json.dumps(deny)
    )


def _denied_by_boundary(deny: dict[str, Any]) -> Operation:
    def late(scene: Scene) -> None:
        iam, policy = scene.engineer.client("iam", "us-east-1"), _all()
        policy["Statement"] += deny["Statement"]
        arn = iam.create_policy(PolicyName="Boundary", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
        iam.put_role_permissions_boundary(RoleName=scene.role_arn.rpartition("/")[2], PermissionsBoundary=arn)

    return late


def _denied_by_key_policy(deny: dict[str, Any]) -> Operation:
    def late(scene: Scene) -> None:
        kms = scene.keeper.client("kms")
        policy = json.loads(kms.get_key_policy(KeyId=scene.key_arn, PolicyName="default")["Policy"])
        policy["Statement"] += [{**statement, "Principal": "*"} for statement in deny["Statement"]]
        kms.put_key_policy(KeyId=scene.key_arn, PolicyName="default", Policy=json.dumps(policy))

    return late


def _denied_by_organization(deny: dict[str, Any]) -> Operation:
    return _organization(scps=[_all(), deny])


def _denied_by_keys_organization(of: str) -> Callable[[dict[str, Any]], Operation]:
    def operation(deny: dict[str, Any]) -> Operation:
        denies = [{**statement, "Principal": "*"} for statement in deny["Statement"]]
        return _organization(rcps=[_all(principal=True), {**deny, "Statement": denies}], of=of)

    return operation


# Where → cause, step, document, how it is done. Across accounts AWS hides what a key policy denies.
IDENTITY = ("role_permissions_policy_explicit_deny", 2, PERMIT)
WHERE: dict[str, tuple[str, int, str, Callable[[dict[str, Any]], Operation]]] = {
    "permissions": (*IDENTITY, _denied_by_permissions),
    "inline policy": (*IDENTITY, _denied_inline),
    "boundary": ("role_permissions_boundary", 2, "permissions-boundary", _denied_by_boundary),
    "key policy": ("key_policy_explicit_deny", 3, STATEMENT, _denied_by_key_policy),
    "scp": ("customer_scp_deny", 2, "service-control-policy", _denied_by_organization),
    "rcp": ("customer_rcp_deny", 3, "resource-control-policy", _denied_by_keys_organization(CUSTOMER)),
}
KEYS_RCP = (*WHERE["rcp"][:3], _denied_by_keys_organization(OTHER_CUSTOMER))
ACROSS = {**{where: how for where, how in WHERE.items() if where != "key policy"}, "rcp": KEYS_RCP}
for across, places in ((False, WHERE), (True, ACROSS)):
    for where, (cause, step, document, denied_by) in places.items():
        for kind, condition in CONDITIONS.items():
            for action in documents.ACTIONS:
                row(
                    f"guardrail in {where} by {kind}: {short(action)}{' across' if across else ''}",
                    cause,
                    step,
                    document,
                    "document",
                    across=across,
                    late=denied_by(_deny(action, **condition)),
                )

# --- step 5: ours. Nothing of it is ever the tenant's -----------------------------------------------------------------


def _detach(scene: Scene) -> None:
    (found,) = scene.ours.list_attached_role_policies(RoleName=scene.service_role)["AttachedPolicies"]
    scene.kept["arn"] = found["PolicyArn"]
    scene.ours.detach_role_policy(RoleName=scene.service_role, PolicyArn=found["PolicyArn"])


def _attach(scene: Scene) -> None:
    scene.ours.attach_role_policy(RoleName=scene.service_role, PolicyArn=scene.kept["arn"])


def _rewrite(change: Callable[[dict[str, Any]], object]) -> Operation:
    """Let somebody edit our policy by hand."""

    def late(scene: Scene) -> None:
        arn = ServiceRolePolicy.objects.get(service_role=scene.tenant.service_role).policy_arn
        version = scene.ours.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policy = scene.ours.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
        scene.kept |= {"arn": arn, "version": version}
        change(policy)
        scene.ours.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy), SetAsDefault=True)

    return late


def _write_back(scene: Scene) -> None:
    scene.ours.set_default_policy_version(PolicyArn=scene.kept["arn"], VersionId=scene.kept["version"])


def _inline(document: Mapping[str, Any]) -> Operation:
    return lambda scene: scene.ours.put_role_policy(
        RoleName=scene.service_role, PolicyName="by-hand", PolicyDocument=json.dumps(document)
    )


def _no_inline_of_ours(scene: Scene) -> None:
    scene.ours.delete_role_policy(RoleName=scene.service_role, PolicyName="by-hand")


def _another_policy(scene: Scene) -> None:
    arn = scene.ours.create_policy(PolicyName="by-hand", PolicyDocument=json.dumps(FULL_ACCESS))["Policy"]["Arn"]
    scene.kept["arn"] = arn
    scene.ours.attach_role_policy(RoleName=scene.service_role, PolicyArn=arn)


def _no_other_policy(scene: Scene) -> None:
    scene.ours.detach_role_policy(RoleName=scene.service_role, PolicyArn=scene.kept["arn"])


def _forget_canary(scene: Scene) -> None:
    trust = documents.trust_policy(scene.tenant.service_role.arn, "byok-another")
    scene.canary.update_assume_role_policy(RoleName=scene.canary_role, PolicyDocument=json.dumps(trust))


def _remember_canary(scene: Scene) -> None:
    role = scene.tenant.service_role
    trust = documents.trust_policy(role.arn, role.canary_external_id)
    scene.canary.update_assume_role_policy(RoleName=scene.canary_role, PolicyDocument=json.dumps(trust))


def _no_canary_permission(scene: Scene) -> None:
    scene.ours.delete_role_policy(RoleName=scene.service_role, PolicyName="byok-canary")


def _canary_permission(scene: Scene) -> None:
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": scene.tenant.service_role.canary_role_arn}
    outside = {"Effect": "Allow", "Action": "kms:DescribeKey", "Resource": "*"}
    scene.ours.put_role_policy(
        RoleName=scene.service_role,
        PolicyName="byok-canary",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allow, outside]}),
    )


def _distrust_ourselves(scene: Scene) -> None:
    role = scene.ours.get_role(RoleName=scene.service_role)["Role"]
    scene.kept["trust"] = json.dumps(role["AssumeRolePolicyDocument"])
    other = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999900002222:root"}, "Action": "sts:AssumeRole"}
    scene.ours.update_assume_role_policy(
        RoleName=scene.service_role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [other]})
    )


def _trust_ourselves(scene: Scene) -> None:
    scene.ours.update_assume_role_policy(RoleName=scene.service_role, PolicyDocument=scene.kept["trust"])


def _delete(scene: Scene) -> None:
    """The worst of ours: the role that tenants name is gone."""
    iam, name = scene.ours, scene.service_role
    role = iam.get_role(RoleName=name)["Role"]
    scene.kept["trust"], scene.kept["path"] = role["AssumeRolePolicyDocument"], role["Path"]
    scene.kept["attached"] = [
        found["PolicyArn"] for found in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    ]
    scene.kept["inline"] = iam.get_role_policy(RoleName=name, PolicyName="byok-canary")["PolicyDocument"]
    for arn in scene.kept["attached"]:
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role_policy(RoleName=name, PolicyName="byok-canary")
    iam.delete_role(RoleName=name)


def _recreate(scene: Scene) -> None:
    """As bad: it is made anew, and has another unique id for ever."""
    _delete(scene)
    iam, name = scene.ours, scene.service_role
    trust = json.dumps(scene.kept["trust"])
    iam.create_role(RoleName=name, Path=scene.kept["path"], AssumeRolePolicyDocument=trust)
    for arn in scene.kept["attached"]:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    iam.put_role_policy(RoleName=name, PolicyName="byok-canary", PolicyDocument=json.dumps(scene.kept["inline"]))


def _fast_clock(scene: Scene) -> None:
    scene.aws.set_fault("clock", 3600)


MISSING = "our_identity_policy_missing_assume_role"
row("our-policy-detached", MISSING, 5, (), "ours", late=_detach, undo=_attach)
row(
    "our-policy-without-the-role",
    MISSING,
    5,
    (),
    "ours",
    late=_rewrite(lambda p: p["Statement"].pop()),
    undo=_write_back,
)
row(
    "our-policy-widened",
    "our_policy_drift",
    5,
    (),
    "ours",
    late=_rewrite(lambda p: p["Statement"].append(FULL_ACCESS["Statement"][0])),
    undo=_write_back,
)
row(
    "our-policy-denies",
    "our_policy_drift",
    5,
    (),
    "ours",
    late=_rewrite(lambda p: p["Statement"].append(_deny("sts:AssumeRole")["Statement"][0])),
    undo=_write_back,
)
row(
    "our-inline-deny",
    "our_policy_drift",
    5,
    (),
    "ours",
    late=lambda scene: _inline(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": scene.role_arn}],
        }
    )(scene),
    undo=_no_inline_of_ours,
)
row("our-other-policy", "our_policy_drift", 5, (), "ours", late=_another_policy, undo=_no_other_policy)
row(
    "our-canary-forgot", "our_canary_broken", 5, (), "ours", late=_forget_canary, undo=_remember_canary, is_single=False
)
row(
    "our-canary-permission",
    MISSING,
    5,
    (),
    "ours",
    late=_no_canary_permission,
    undo=_canary_permission,
)
row("our-role-distrusts-us", "our_service_role_trust", 5, (), "ours", late=_distrust_ourselves, undo=_trust_ourselves)
row("our-role-deleted", "our_service_role_trust", 5, (), "ours", late=_delete)
row("our-role-recreated", "our_service_role_recreated", 5, (), "ours", late=_recreate)
row("our-clock", "our_clock_skew", 5, (), "ours", late=_fast_clock, undo=_fair)

# --- several at once --------------------------------------------------------------------------------------------------


def _together(*names: str, **more: Any) -> None:
    row(" + ".join(names), mistakes=names, **more)


_together(
    "no-external-id",
    "key-policy-without-Encrypt",
    cause=(NOT_REQUIRED, NOT_EXACT),
    step=2,
    document=TRUST,
    mend="document",
)
_together(
    "disabled-key",
    "wrong-external-id",
    cause="external_id_mismatch",
    step=2,
    document=TRUST,
    mend="operation",
    is_single=False,
    undo=_enable,
)
_together("disabled-key", "any-external-id", cause=NOT_EXACT, step=2, document=TRUST, mend="operation", undo=_enable)
_together(
    "external-id-lower-case",
    "key-policy-without-Decrypt",
    cause="external_id_mismatch",
    step=2,
    document=TRUST,
    mend="document",
)
_together(
    "permissions-without-Decrypt",
    "key-policy-without-Decrypt",
    across=True,
    cause="key_policy_missing_action",
    step=3,
    document=STATEMENT,
    mend="document",
    is_single=False,
)
_together(
    "permissions-deny-Encrypt",
    "key-policy-without-Decrypt",
    cause=("role_permissions_policy_explicit_deny", "key_policy_missing_action"),
    step=(2, 3),
    document=(PERMIT, STATEMENT),
    mend="document",
)
_together(
    "boundary-without-ReEncrypt",
    "key-policy-without-GenerateDataKey",
    cause=("role_permissions_boundary", "key_policy_missing_action"),
    step=(2, 3),
    document=("permissions-boundary", STATEMENT),
    mend="document",
)
_together("anybody", "permissions-deny-Decrypt", cause=EVERYBODY, step=2, document=TRUST, mend="document")
_together(
    "permissions-without-Encrypt",
    "key-policy-without-GenerateDataKey",
    across=True,
    cause=("role_permissions_policy_missing_action", "key_policy_missing_action"),
    step=(2, 3),
    document=(PERMIT, STATEMENT),
    mend="document",
    is_single=False,
)

# Every mistake that the engineer can make has its row.
