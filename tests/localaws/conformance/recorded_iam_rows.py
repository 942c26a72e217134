"""IAM and session tags as they were recorded on AWS, and as the API reference has them: what is in use, what is AWS's,
who is meant, quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.localaws.conformance.iam_rows import QUOTAS, _padded
from tests.localaws.conformance.rows import IAM, IAM_API, LOCALSTACK, allowed, refused
from tests.localaws.conformance.world import World, allow, deny, policy, trusting

RECORDED = LOCALSTACK + "iam/test_iam.snapshot.json"
STS = LOCALSTACK + "sts/test_sts.snapshot.json"
CONFLICT = ("DeleteConflict", 409)
ATTACHED = "Cannot delete a policy attached to entities."


def _iam(w: World) -> Any:
    return w.client(w.theirs, "iam")


def _role(w: World, **options: Any) -> str:
    return w.role(w.theirs, policy(trusting(w.theirs)), **options).rpartition("/")[2]


def _user(w: World) -> str:
    return w.user(w.theirs)[0].rpartition("/")[2]


def _group(w: World) -> str:
    name = w.name("group")
    _iam(w).create_group(GroupName=name)
    w._undo.append(lambda: _iam(w).delete_group(GroupName=name))
    return name


# --- policies in use --------------------------------------------------------------------------------------------------

HOLDERS: dict[str, Callable[[World], str]] = {"Role": _role, "User": _user, "Group": _group}


def _attached_row(kind: str) -> None:
    def call(w: World, verb: str, name: str, arn: str) -> None:
        getattr(_iam(w), f"{verb}_{kind.lower()}_policy")(**{f"{kind}Name": name, "PolicyArn": arn})

    @refused(IAM_API + "API_DeletePolicy.html", *CONFLICT, message=ATTACHED, name=f"a policy that a {kind} has")
    def deleted(w: World) -> None:
        name, arn = HOLDERS[kind](w), w.managed(w.theirs, allow("kms:*"))
        call(w, "attach", name, arn)
        w._undo.append(lambda: call(w, "detach", name, arn))
        _iam(w).delete_policy(PolicyArn=arn)

    @allowed(IAM_API + "API_DeletePolicy.html", name=f"a policy that a {kind} had")
    def detached(w: World) -> None:
        name, arn = HOLDERS[kind](w), w.managed(w.theirs, allow("kms:*"))
        call(w, "attach", name, arn)
        call(w, "detach", name, arn)
        _iam(w).delete_policy(PolicyArn=arn)

    for title, arn in (("long enough", "longpolicynamebutnoarn"), ("a name", "the-name-of-a-policy-there")):

        @refused(
            RECORDED,
            "ValidationError",
            400,
            message="Invalid ARN:  Could not be parsed!",
            name=f"what is no ARN ({title}) attached to a {kind}",
        )
        def no_arn(w: World, arn: str = arn) -> None:
            call(w, "attach", HOLDERS[kind](w), arn)

    @refused(
        RECORDED, "NoSuchEntity", 404, "does not exist or is not attachable.", name=f"a policy for a {kind} that is not"
    )
    def missing(w: World) -> None:
        call(w, "attach", HOLDERS[kind](w), f"arn:aws:iam::{w.theirs}:policy/nothing")

    @refused(
        QUOTAS,
        "LimitExceeded",
        409,
        message=f"Cannot exceed quota for PoliciesPer{kind}: 10",
        name=f"eleven policies of a {kind} ",
    )
    def eleven(w: World) -> None:
        name = HOLDERS[kind](w)
        for _ in range(11):
            arn = w.managed(w.theirs, allow("kms:Decrypt"))
            w._undo.append(lambda arn=arn: call(w, "detach", name, arn))  # type: ignore[misc]
            call(w, "attach", name, arn)


for _kind in HOLDERS:
    _attached_row(_kind)


@refused(IAM_API + "API_DeletePolicy.html", *CONFLICT, message=ATTACHED)
def a_policy_that_is_a_boundary(w: World) -> None:
    arn = w.managed(w.theirs, allow("kms:*"))
    _role(w, boundary=arn)
    _iam(w).delete_policy(PolicyArn=arn)


@refused(IAM_API + "API_DeletePolicy.html", *CONFLICT, message=ATTACHED)
def a_policy_that_is_a_users_boundary(w: World) -> None:
    arn = w.managed(w.theirs, allow("kms:*"))
    w.user(w.theirs, boundary=arn)
    _iam(w).delete_policy(PolicyArn=arn)


@refused(
    "https://github.com/rebuy-de/aws-nuke/issues/1",
    *CONFLICT,
    message="This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
    "The default version is deleted with the policy.",
)
def a_policy_of_two_versions(w: World) -> None:
    arn = w.managed(w.theirs, allow("kms:*"))
    _iam(w).create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("s3:*")))
    w._undo.append(lambda: _iam(w).delete_policy_version(PolicyArn=arn, VersionId="v2"))
    _iam(w).delete_policy(PolicyArn=arn)


@refused(
    "https://github.com/redradrat/aws-iam-operator/issues/13",
    *CONFLICT,
    message="Cannot delete the default version of a policy.",
)
def the_default_version_of_a_policy(w: World) -> None:
    _iam(w).delete_policy_version(PolicyArn=w.managed(w.theirs, allow("kms:*")), VersionId="v1")


@refused(RECORDED, "NoSuchEntity", 404, "was not found.")
def a_policy_that_is_not_there_is_deleted(w: World) -> None:
    _iam(w).delete_policy(PolicyArn=f"arn:aws:iam::{w.theirs}:policy/non-existent-policy")


@refused(IAM_API + "API_CreateRole.html", "NoSuchEntity", 404, "does not exist or is not attachable.")
def a_boundary_that_is_not_there(w: World) -> None:
    _role(w, boundary=f"arn:aws:iam::{w.theirs}:policy/nothing")


@refused(IAM_API + "API_PutUserPermissionsBoundary.html", "NoSuchEntity", 404)
def a_users_boundary_that_is_not_there(w: World) -> None:
    _iam(w).put_user_permissions_boundary(
        UserName=_user(w), PermissionsBoundary=f"arn:aws:iam::{w.theirs}:policy/nothing"
    )


# --- what still has something -----------------------------------------------------------------------------------------


@refused(IAM_API + "API_DeleteUser.html", *CONFLICT, "must delete access keys first.")
def a_user_with_access_keys(w: World) -> None:
    _iam(w).delete_user(UserName=_user(w))


@refused(IAM_API + "API_DeleteUser.html", *CONFLICT, "must remove users from group first.")
def a_user_in_a_group(w: World) -> None:
    group, name = _group(w), w.name("user")
    _iam(w).create_user(UserName=name)
    w._undo.append(lambda: _iam(w).delete_user(UserName=name))
    _iam(w).add_user_to_group(GroupName=group, UserName=name)
    w._undo.append(lambda: _iam(w).remove_user_from_group(GroupName=group, UserName=name))
    _iam(w).delete_user(UserName=name)


@refused(IAM_API + "API_DeleteGroup.html", *CONFLICT, "must remove users from group first.")
def a_group_with_users(w: World) -> None:
    group, name = _group(w), _user(w)
    _iam(w).add_user_to_group(GroupName=group, UserName=name)
    w._undo.append(lambda: _iam(w).remove_user_from_group(GroupName=group, UserName=name))
    _iam(w).delete_group(GroupName=group)


@refused(IAM_API + "API_DeleteGroup.html", *CONFLICT, "must delete policies first.")
def a_group_with_a_policy(w: World) -> None:
    group = _group(w)
    _iam(w).put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy(allow("*")))
    w._undo.append(lambda: _iam(w).delete_group_policy(GroupName=group, PolicyName="p"))
    _iam(w).delete_group(GroupName=group)


@refused(IAM_API + "API_DeleteInstanceProfile.html", *CONFLICT, "must remove roles from instance profile first.")
def an_instance_profile_with_a_role(w: World) -> None:
    name, role = w.name("profile"), _role(w)
    _iam(w).create_instance_profile(InstanceProfileName=name)
    w._undo.append(lambda: _iam(w).delete_instance_profile(InstanceProfileName=name))
    _iam(w).add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)
    w._undo.append(lambda: _iam(w).remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role))
    _iam(w).delete_instance_profile(InstanceProfileName=name)


# --- quotas and names -------------------------------------------------------------------------------------------------


def _inline_row(kind: str, most: int) -> None:
    def put(w: World, length: int) -> None:
        name = HOLDERS[kind](w)
        asked = {f"{kind}Name": name, "PolicyName": "p"}
        w._undo.append(lambda: getattr(_iam(w), f"delete_{kind.lower()}_policy")(**asked))
        getattr(_iam(w), f"put_{kind.lower()}_policy")(**asked, PolicyDocument=_padded(length))

    @allowed(QUOTAS, name=f"inline policies of a {kind} of {most} characters")
    def fits(w: World) -> None:
        put(w, most)

    @refused(
        QUOTAS,
        "LimitExceeded",
        409,
        f"Maximum policy size of {most} bytes exceeded for {kind.lower()} ",
        name=f"inline policies of a {kind} of {most + 1} characters",
    )
    def too_long(w: World) -> None:
        put(w, most + 1)


_inline_row("User", 2_048)
_inline_row("Group", 5_120)
_inline_row("Role", 10_240)


@refused(QUOTAS, "LimitExceeded", 409, message="Cannot exceed quota for GroupsPerUser: 10")
def a_user_in_eleven_groups(w: World) -> None:
    name = _user(w)
    for _ in range(11):
        group = _group(w)
        w._undo.append(lambda group=group: _iam(w).remove_user_from_group(GroupName=group, UserName=name))  # type: ignore[misc]
        _iam(w).add_user_to_group(GroupName=group, UserName=name)


@refused(QUOTAS, "LimitExceeded", 409, "Cannot exceed quota for AccessKeysPerUser: 2")
def three_access_keys_of_a_user(w: World) -> None:
    name = _user(w)
    for _ in range(2):
        keys = _iam(w).create_access_key(UserName=name)["AccessKey"]
        w._undo.append(lambda keys=keys: _iam(w).delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"]))  # type: ignore[misc]


def _case_row(kind: str, create: Callable[[Any, str], Any]) -> None:
    @refused(
        IAM_API + f"API_Create{kind}.html", "EntityAlreadyExists", 409, "already exists", name=f"a {kind} in other case"
    )
    def act(w: World) -> None:
        create(_iam(w), HOLDERS[kind](w).upper())


_case_row("User", lambda iam, name: iam.create_user(UserName=name))
_case_row("Group", lambda iam, name: iam.create_group(GroupName=name))
_case_row(
    "Role",
    lambda iam, name: iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trusting("*"))),
)

# --- oneself ----------------------------------------------------------------------------------------------------------

ONESELF = IAM_API + "API_GetUser.html"
MINE: dict[str, Callable[[Any], Any]] = {
    "GetUser": lambda iam: iam.get_user(),
    "ListAccessKeys": lambda iam: iam.list_access_keys(),
    "ListMFADevices": lambda iam: iam.list_mfa_devices(),
    "CreateAccessKey": lambda iam: iam.create_access_key(),
}


def _oneself_row(operation: str, call: Callable[[Any], Any]) -> None:
    page = IAM_API + f"API_{operation}.html"

    @allowed(page, local=True, name=f"{operation} of oneself")
    def user(w: World) -> None:
        _, keys = w.user(w.theirs, allow("iam:*", "arn:aws:iam::*:user/${aws:username}"))
        call(w.client(keys, "iam"))

    @refused(page, "AccessDenied", 403, f"iam:{operation}", name=f"{operation} of oneself without permission")
    def denied(w: World) -> None:
        call(w.client(w.user(w.theirs)[1], "iam"))

    @refused(
        "https://github.com/mhausenblas/rbIAM/issues/4",
        "ValidationError",
        400,
        message="Must specify userName when calling with non-User credentials",
        name=f"{operation} of a session",
    )
    def session(w: World) -> None:
        call(w.client(w.insider(allow("*"))[1], "iam"))

    @allowed(page, local=True, name=f"{operation} of the administrator")
    def administrator(w: World) -> None:
        call(_iam(w))


for _operation, _call in MINE.items():
    _oneself_row(_operation, _call)


@allowed(ONESELF)
def getuser_tells_the_caller(w: World) -> None:
    arn, keys = w.user(w.theirs, allow("iam:GetUser"))
    assert w.client(keys, "iam").get_user()["User"]["Arn"] == arn


@allowed(ONESELF, local=True)
def getuser_tells_the_root_user(w: World) -> None:
    assert w.local
    keys = w.local.accounts[w.theirs]
    root = {"AccessKeyId": keys["root_access_key_id"], "SecretAccessKey": keys["root_secret_access_key"]}
    assert w.client(root, "iam").get_user()["User"]["Arn"] == f"arn:aws:iam::{w.theirs}:root"


# --- roles of AWS -----------------------------------------------------------------------------------------------------

LINKED = "https://github.com/gruntwork-io/cloud-nuke/issues/880"


def _linked(w: World, service: str = "batch.amazonaws.com", **options: Any) -> str:
    name: str = _iam(w).create_service_linked_role(AWSServiceName=service, **options)["Role"]["RoleName"]
    w._undo.append(lambda: _iam(w).delete_service_linked_role(RoleName=name))
    return name


TOUCHED: dict[str, Callable[[Any, str], Any]] = {
    "DeleteRole": lambda iam, name: iam.delete_role(RoleName=name),
    "PutRolePolicy": lambda iam, name: iam.put_role_policy(
        RoleName=name, PolicyName="p", PolicyDocument=policy(allow("*"))
    ),
    "AttachRolePolicy": lambda iam, name: iam.attach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess"
    ),
    "DetachRolePolicy": lambda iam, name: iam.detach_role_policy(
        RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess"
    ),
    "UpdateAssumeRolePolicy": lambda iam, name: iam.update_assume_role_policy(
        RoleName=name, PolicyDocument=policy(trusting("*"))
    ),
}


def _touched_row(operation: str, call: Callable[[Any, str], Any]) -> None:
    @refused(
        LINKED,
        "UnmodifiableEntity",
        400,
        "Cannot perform the operation on the protected role 'AWSServiceRoleForBatch' - this role is only modifiable by "
        "AWS",
        name=f"{operation} of a service-linked role",
    )
    def act(w: World) -> None:
        call(_iam(w), _linked(w))


for _operation, _touch in TOUCHED.items():
    _touched_row(_operation, _touch)


@refused(
    RECORDED,
    "InvalidInput",
    400,
    message="Service role name AWSServiceRoleForBatch has been taken in this account, please try a different suffix.",
)
def a_service_linked_role_twice(w: World) -> None:
    _linked(w)
    _linked(w)


@refused(RECORDED, "InvalidInput", 400, message="Custom suffix is not allowed for batch.amazonaws.com")
def a_service_linked_role_with_a_suffix(w: World) -> None:
    _linked(w, CustomSuffix="x")


@allowed(RECORDED)
def a_service_linked_role_with_a_suffix_where_there_are_some(w: World) -> None:
    assert _linked(w, "autoscaling.amazonaws.com", CustomSuffix="x") == "AWSServiceRoleForAutoScaling_x"


@allowed(RECORDED)
def a_service_linked_role_is_deleted_by_a_task(w: World) -> None:
    name = _linked(w)
    task = _iam(w).delete_service_linked_role(RoleName=name)["DeletionTaskId"]
    assert task.startswith("task/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch/")
    if w.local:
        assert _iam(w).get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"


@refused(IAM_API + "API_DeleteServiceLinkedRole.html", "NoSuchEntity", 404)
def a_role_of_ones_own_is_no_service_linked_role(w: World) -> None:
    _iam(w).delete_service_linked_role(RoleName=_role(w))


@refused(IAM_API + "API_CreateServiceLinkedRole.html", "InvalidInput", 400)
def a_service_linked_role_of_no_service(w: World) -> None:
    _linked(w, "nobody")


# --- the simulator ----------------------------------------------------------------------------------------------------


def _simulated_row(kind: str) -> None:
    @allowed(RECORDED, name=f"the simulator speaks of a {kind}")
    def act(w: World) -> None:
        name, arn = HOLDERS[kind](w), w.managed(w.theirs, allow("s3:PutObject"))
        asked = {f"{kind}Name": name, "PolicyArn": arn}
        getattr(_iam(w), f"attach_{kind.lower()}_policy")(**asked)
        w._undo.append(lambda: getattr(_iam(w), f"detach_{kind.lower()}_policy")(**asked))
        answer = _iam(w).simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{w.theirs}:{kind.lower()}/{name}",
            ActionNames=["s3:PutObject", "s3:GetObjectVersion"],
            ResourceArns=["arn:aws:s3:::bucket"],
        )
        assert [each["EvalDecision"] for each in answer["EvaluationResults"]] == ["allowed", "implicitDeny"]


for _kind in HOLDERS:
    _simulated_row(_kind)

SIMULATE = (
    "https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html"
)


@refused(SIMULATE, "AccessDenied", 403, "iam:SimulatePrincipalPolicy on resource: arn:aws:iam::")
def the_simulator_is_about_its_principal(w: World) -> None:
    _, keys = w.user(w.theirs, allow("*"), deny("iam:SimulatePrincipalPolicy", "arn:aws:iam::*:role/*"))
    w.client(keys, "iam").simulate_principal_policy(
        PolicySourceArn=f"arn:aws:iam::{w.theirs}:role/{_role(w)}", ActionNames=["s3:GetObject"]
    )


@refused(IAM + "reference_identifiers.html", "AccessDenied", 403, ":user/engineers/")
def a_user_is_its_arn_with_its_path(w: World) -> None:
    name = w.name("user")
    _iam(w).create_user(UserName=name, Path="/engineers/")
    w._undo.append(lambda: _iam(w).delete_user(UserName=name))
    _, keys = w.user(w.theirs, allow("*"), deny("iam:GetUser", "arn:aws:iam::*:user/engineers/*"))
    w.client(keys, "iam").get_user(UserName=name)


# --- session tags -----------------------------------------------------------------------------------------------------

BOTH = ["sts:AssumeRole", "sts:TagSession"]
PARAMETER = ("InvalidParameterValue", 400)


def _pairs(*keys: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": f"of {key}"} for key in keys]


def _session(w: World, **options: Any) -> dict[str, str]:
    role = w.role(w.theirs, policy(trusting(w.theirs, action=BOTH)), allow("sts:*"))
    return w.session(w.theirs, role, **options)


def _chained(w: World, *keys: str, **options: Any) -> dict[str, str]:
    """A session with a transitive tag makes another one with these tags."""
    session = _session(w, Tags=_pairs("SessionTag1"), TransitiveTagKeys=["SessionTag1"])
    role = w.role(w.theirs, policy(trusting(w.theirs, action=BOTH)), allow("iam:*"))
    return w.session(session, role, Tags=_pairs(*keys), **options)


@refused(STS, *PARAMETER, message="The specified transitive tag key must be included in the requested tags.")
def a_transitive_key_without_its_tag(w: World) -> None:
    _session(w, Tags=_pairs("SessionTag1"), TransitiveTagKeys=["InvalidKey"])


@allowed(STS)
def a_transitive_key_in_other_case(w: World) -> None:
    _session(w, Tags=_pairs("SessionTag1"), TransitiveTagKeys=["sessiontag1"])


@refused(STS, *PARAMETER, message="Duplicate tag keys found. Please note that Tag keys are case insensitive.")
def tag_keys_that_differ_in_case_alone(w: World) -> None:
    _session(w, Tags=_pairs("SessionTag1", "sessiontag1"), TransitiveTagKeys=["sessiontag1"])


@refused(IAM + "id_session-tags.html", *PARAMETER)
def a_session_tag_that_begins_with_aws(w: World) -> None:
    _session(w, Tags=_pairs("aws:role"))


OVERRIDDEN = (
    "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the "
    "calling session."
)


@refused(STS, *PARAMETER, message=OVERRIDDEN)
def a_transitive_tag_is_set_again(w: World) -> None:
    _chained(w, "SessionTag1")


@refused(STS, *PARAMETER, message=OVERRIDDEN)
def a_transitive_tag_is_set_again_in_other_case(w: World) -> None:
    _chained(w, "sessiontag1")


@allowed(IAM + "id_session-tags.html#id_session-tags_role-chaining")
def a_transitive_tag_goes_on(w: World) -> None:
    session = _session(w, Tags=_pairs("SessionTag1"), TransitiveTagKeys=["sessiontag1"])
    condition = {"StringEquals": {"aws:PrincipalTag/SessionTag1": "of SessionTag1"}}
    role = w.role(w.theirs, policy(trusting(w.theirs, action=BOTH)), allow("iam:ListRoles", Condition=condition))
    w.client(w.session(session, role), "iam").list_roles(MaxItems=1)
