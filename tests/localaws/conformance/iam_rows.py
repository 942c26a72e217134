"""IAM: what it refuses to save, its quotas, and its simulator."""

from __future__ import annotations

import json
from typing import Any

from tests.localaws.conformance.rows import IAM, IAM_API, allowed, refused
from tests.localaws.conformance.world import World, allow, deny, policy, trusting

QUOTAS = IAM + "reference_iam-quotas.html"
GRAMMAR = IAM + "reference_policies_grammar.html"
PRINCIPAL = IAM + "reference_policies_elements_principal.html"
MALFORMED = ("MalformedPolicyDocument", 400)


def _trust(w: World, document: str) -> None:
    w.role(w.theirs, document)


# (name, trust policy, words)
TRUST: list[tuple[str, str, str]] = [
    ("no JSON", "{", "This policy contains invalid Json"),
    ("a Version that is none", policy(trusting("111122223333"), version="2020-01-01"), "Syntax errors in policy."),
    (
        "two Versions",
        json.dumps({"Version": ["2012-10-17"], "Statement": [trusting("111122223333")]}),
        "Syntax errors in policy.",
    ),
    (
        "no Principal",
        json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}),
        "Missing required field Principal",
    ),
    (
        "a Resource",
        json.dumps({"Version": "2012-10-17", "Statement": [{**trusting("111122223333"), "Resource": "*"}]}),
        "Has prohibited field Resource",
    ),
    (
        "a role that does not exist",
        policy(trusting("arn:aws:iam::111122223333:role/nobody")),
        'Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/nobody"',
    ),
    (
        "a user that does not exist",
        policy(trusting("arn:aws:iam::111122223333:user/nobody")),
        'Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:user/nobody"',
    ),
    (
        "an account that does not exist",
        policy(trusting("000000000000")),
        'Invalid principal in policy: "AWS":"000000000000"',
    ),
    ("a word for a principal", policy(trusting("somebody")), 'Invalid principal in policy: "AWS":"somebody"'),
    (
        "one good principal and a bad one",
        policy(trusting(["111122223333", "somebody"])),
        'Invalid principal in policy: "AWS":"somebody"',
    ),
]


def _trust_row(name: str, document: str, words: str) -> None:
    @refused(
        PRINCIPAL if "Invalid principal" in words else GRAMMAR, *MALFORMED, words, name=f"trust policy with {name}"
    )
    def act(w: World) -> None:
        _trust(w, document.replace("111122223333", w.theirs))


for _row in TRUST:
    _trust_row(*_row)

# (name, identity policy)
IDENTITY: list[tuple[str, Any]] = [
    ("no JSON", "{"),
    ("no statement", {"Version": "2012-10-17"}),
    ("another version", {"Version": "2020-01-01", "Statement": [allow("kms:Decrypt")]}),
    ("a principal", {"Version": "2012-10-17", "Statement": [{**allow("kms:Decrypt"), "Principal": "*"}]}),
    ("no effect", {"Version": "2012-10-17", "Statement": [{"Action": "kms:Decrypt", "Resource": "*"}]}),
    ("another effect", {"Version": "2012-10-17", "Statement": [{**allow("kms:Decrypt"), "Effect": "Perhaps"}]}),
    ("no action", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*"}]}),
    ("no resource", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:Decrypt"}]}),
    ("an action without a service", {"Version": "2012-10-17", "Statement": [allow("Decrypt")]}),
    ("a resource that is no ARN", {"Version": "2012-10-17", "Statement": [allow("kms:Decrypt", "key")]}),
    (
        "a resource of another partition",
        {"Version": "2012-10-17", "Statement": [allow("sts:AssumeRole", "arn:aws-us-gov:iam::111122223333:role/x")]},
    ),
    (
        "both Action and NotAction",
        {"Version": "2012-10-17", "Statement": [{**allow("kms:Decrypt"), "NotAction": "s3:*"}]},
    ),
    (
        "an unknown condition operator",
        {
            "Version": "2012-10-17",
            "Statement": [allow("kms:Decrypt", Condition={"StringSmells": {"aws:username": "x"}})],
        },
    ),
    (
        "one Sid twice",
        {"Version": "2012-10-17", "Statement": [allow("kms:Decrypt", Sid="A"), allow("kms:Encrypt", Sid="A")]},
    ),
]


def _identity_row(name: str, document: Any) -> None:
    @refused(GRAMMAR, *MALFORMED, name=f"permissions policy with {name}")
    def act(w: World) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        w.client(w.theirs, "iam").create_policy(PolicyName=w.name(), PolicyDocument=text)


for _identity in IDENTITY:
    _identity_row(*_identity)


def _padded(length: int, *, blanks: int = 0) -> str:
    """A policy of so many characters, and so many blanks that IAM does not count."""
    document = {
        "Version": "2012-10-17",
        "Statement": [allow("kms:Decrypt", "arn:aws:kms:eu-central-1:111122223333:key/")],
    }
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("key/", "key/" + "a" * (length - len(text))).replace(",", "," + " " * blanks, 1)


@allowed(QUOTAS)
def a_managed_policy_of_6144_characters(w: World) -> None:
    arn = w.client(w.theirs, "iam").create_policy(PolicyName=w.name(), PolicyDocument=_padded(6_144, blanks=500))[
        "Policy"
    ]["Arn"]
    w.client(w.theirs, "iam").delete_policy(PolicyArn=arn)


@refused(QUOTAS, "LimitExceeded", 409, "Cannot exceed quota for PolicySize: 6144")
def a_managed_policy_of_6145_characters(w: World) -> None:
    w.client(w.theirs, "iam").create_policy(PolicyName=w.name(), PolicyDocument=_padded(6_145))


@refused(QUOTAS, "LimitExceeded", 409, "Cannot exceed quota for PolicySize: 6144")
def a_version_of_6145_characters(w: World) -> None:
    w.client(w.theirs, "iam").create_policy_version(
        PolicyArn=w.managed(w.theirs, allow("kms:Decrypt")), PolicyDocument=_padded(6_145)
    )


def _inline(w: World, *lengths: int) -> None:
    iam = w.client(w.theirs, "iam")
    name = w.role(w.theirs, policy(trusting(w.theirs))).rpartition("/")[2]
    for number, length in enumerate(lengths):
        iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=_padded(length))
    for number in range(len(lengths)):
        iam.delete_role_policy(RoleName=name, PolicyName=f"p{number}")


@allowed(QUOTAS)
def inline_policies_of_10240_characters_together(w: World) -> None:
    _inline(w, 5_120, 5_120)


@refused(QUOTAS, "LimitExceeded", 409, "Maximum policy size of 10240 bytes exceeded")
def inline_policies_of_10241_characters_together(w: World) -> None:
    _inline(w, 5_120, 5_121)


def _attached(w: World, count: int) -> None:
    iam = w.client(w.theirs, "iam")
    name = w.role(w.theirs, policy(trusting(w.theirs))).rpartition("/")[2]
    arns = [w.managed(w.theirs, allow("kms:Decrypt")) for _ in range(count)]
    for arn in arns:
        w._undo.append(lambda arn=arn: iam.detach_role_policy(RoleName=name, PolicyArn=arn))  # type: ignore[misc]
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)


@allowed(QUOTAS)
def ten_policies_on_a_role(w: World) -> None:
    _attached(w, 10)


@refused(QUOTAS, "LimitExceeded", 409, "Cannot exceed quota for PoliciesPerRole: 10")
def eleven_policies_on_a_role(w: World) -> None:
    _attached(w, 11)


def _versions(w: World, count: int) -> None:
    iam, arn = w.client(w.theirs, "iam"), w.managed(w.theirs, allow("kms:Decrypt"))
    for number in range(2, count + 1):
        w._undo.append(lambda number=number: iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}"))
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("kms:Encrypt")))


@allowed(QUOTAS)
def five_versions_of_a_policy(w: World) -> None:
    _versions(w, 5)


@refused(QUOTAS, "LimitExceeded", 409, "A managed policy can have up to 5 versions")
def six_versions_of_a_policy(w: World) -> None:
    _versions(w, 6)


def _long_trust(w: World, length: int) -> str:
    text = policy(trusting(w.theirs, StringEquals={"sts:ExternalId": ""})).replace(" ", "")
    return text.replace('"sts:ExternalId":"', '"sts:ExternalId": "' + "a" * (length - len(text)))


@allowed(QUOTAS)
def a_trust_policy_of_2048_characters(w: World) -> None:
    _trust(w, _long_trust(w, 2_048))


@refused(QUOTAS, "LimitExceeded", 409, "Cannot exceed quota for ACLSizePerRole: 2048")
def a_trust_policy_of_2049_characters(w: World) -> None:
    _trust(w, _long_trust(w, 2_049))


@refused(IAM_API + "API_CreateRole.html", "EntityAlreadyExists", 409)
def a_role_of_that_name_is_there(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)))
    w.client(w.theirs, "iam").create_role(
        RoleName=arn.rpartition("/")[2], AssumeRolePolicyDocument=policy(trusting(w.theirs))
    )


@refused(IAM_API + "API_GetRole.html", "NoSuchEntity", 404)
def a_role_that_is_not_there(w: World) -> None:
    w.client(w.theirs, "iam").get_role(RoleName="byok-nobody")


@refused(IAM_API + "API_DeleteRole.html", "DeleteConflict", 409)
def a_role_with_a_policy_cannot_be_deleted(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)), allow("kms:*"))
    w.client(w.theirs, "iam").delete_role(RoleName=arn.rpartition("/")[2])


@refused(
    IAM + "troubleshoot_access-denied.html",
    "AccessDenied",
    403,
    "because no identity-based policy allows the iam:CreateRole action",
)
def a_user_without_permissions(w: World) -> None:
    _, keys = w.user(w.theirs)
    w.client(keys, "iam").create_role(RoleName=w.name(), AssumeRolePolicyDocument=policy(trusting(w.theirs)))


@refused(
    IAM + "troubleshoot_access-denied.html", "AccessDenied", 403, "with an explicit deny in an identity-based policy"
)
def a_user_that_is_denied(w: World) -> None:
    _, keys = w.user(w.theirs, allow("*"), deny("iam:DeleteRole"))
    w.client(keys, "iam").delete_role(RoleName="byok-nobody")


@refused(
    IAM + "access_policies_boundaries.html",
    "AccessDenied",
    403,
    "because no permissions boundary allows the iam:ListRoles action",
)
def a_user_with_a_boundary(w: World) -> None:
    _, keys = w.user(w.theirs, allow("*"), boundary=w.managed(w.theirs, allow("kms:*")))
    w.client(keys, "iam").list_roles()


@refused(
    "https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html",
    "AccessDenied",
    403,
    "with an explicit deny in a service control policy",
    local=True,
)
def an_organization_that_denies(w: World) -> None:
    assert w.local
    w.local.organization(w.theirs, scps=[{"Version": "2012-10-17", "Statement": [allow("*"), deny("iam:ListRoles")]}])
    w.client(w.theirs, "iam").list_roles()


@refused(IAM + "reference_policies_variables.html", "AccessDenied", 403)
def a_variable_stands_for_the_caller(w: World) -> None:
    _, keys = w.user(w.theirs, allow("iam:GetUser", "arn:aws:iam::*:user/${aws:username}"))
    w.client(keys, "iam").get_user(UserName="another")


@allowed(IAM + "reference_policies_variables.html")
def a_variable_stands_for_the_caller_itself(w: World) -> None:
    arn, keys = w.user(w.theirs, allow("iam:GetUser", "arn:aws:iam::*:user/${aws:username}"))
    w.client(keys, "iam").get_user(UserName=arn.rpartition("/")[2])


@allowed(IAM_API + "API_GetAccountSummary.html")
def the_account_tells_its_quotas(w: World) -> None:
    summary = w.client(w.theirs, "iam").get_account_summary()["SummaryMap"]
    assert summary["PolicySizeQuota"] == 6_144
    assert summary["AssumeRolePolicySizeQuota"] == 2_048


def _simulated(w: World, *statements: dict[str, Any], actions: list[str], **options: Any) -> list[str]:
    arn = w.role(w.theirs, policy(trusting(w.theirs)), *statements)
    answer = w.client(w.theirs, "iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, **options)
    return [result["EvalDecision"] for result in answer["EvaluationResults"]]


@allowed(IAM_API + "API_SimulatePrincipalPolicy.html")
def the_simulator_tells_three_answers(w: World) -> None:
    statements = (allow("kms:Decrypt", "arn:aws:kms:*:*:key/a"), deny("kms:Encrypt"))
    actions = ["kms:Decrypt", "kms:Encrypt", "kms:DescribeKey"]
    decisions = _simulated(w, *statements, actions=actions, ResourceArns=[f"arn:aws:kms:eu-central-1:{w.theirs}:key/a"])
    assert decisions == ["allowed", "explicitDeny", "implicitDeny"]


@allowed(IAM_API + "API_SimulatePrincipalPolicy.html")
def the_simulator_takes_context(w: World) -> None:
    condition = {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}
    entry = {
        "ContextKeyName": "kms:ViaService",
        "ContextKeyType": "string",
        "ContextKeyValues": ["s3.eu-central-1.amazonaws.com"],
    }
    statement = allow("kms:Decrypt", Condition=condition)
    assert _simulated(w, statement, actions=["kms:Decrypt"]) == ["implicitDeny"]
    assert _simulated(w, statement, actions=["kms:Decrypt"], ContextEntries=[entry]) == ["allowed"]


@refused(IAM_API + "API_SimulatePrincipalPolicy.html", "NoSuchEntity", 404)
def the_simulator_needs_a_principal(w: World) -> None:
    w.client(w.theirs, "iam").simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{w.theirs}:role/nobody", ActionNames=["kms:Decrypt"]
    )


@refused(IAM_API + "API_CreateAccessKey.html", "InvalidClientTokenId", 403)
def an_access_key_that_was_switched_off(w: World) -> None:
    arn, keys = w.user(w.theirs, allow("*"))
    name = arn.rpartition("/")[2]
    w.client(w.theirs, "iam").update_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"], Status="Inactive")
    w.settle()
    w.client(keys, "sts").get_caller_identity()


@allowed(IAM + "id_groups.html")
def a_user_has_what_its_group_has(w: World) -> None:
    arn, keys = w.user(w.theirs)
    iam, group, user = w.client(w.theirs, "iam"), w.name("group"), arn.rpartition("/")[2]
    iam.create_group(GroupName=group)
    try:
        iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy(allow("iam:ListRoles")))
        iam.add_user_to_group(GroupName=group, UserName=user)
        w.settle()
        w.client(keys, "iam").list_roles(MaxItems=1)
    finally:
        iam.remove_user_from_group(GroupName=group, UserName=user)
        iam.delete_group_policy(GroupName=group, PolicyName="p")
        iam.delete_group(GroupName=group)
