"""What AWS says to parameters that its model does not take: recorded answers, and the API reference's constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.localaws.conformance.rows import IAM_API, KMS_API, LOCALSTACK, STS_API, refused
from tests.localaws.conformance.wire_rows import _raw
from tests.localaws.conformance.world import World, allow, policy, trusting

KMS = LOCALSTACK + "kms/test_kms.snapshot.json"
STS = LOCALSTACK + "sts/test_sts.snapshot.json"
RECORDED = LOCALSTACK + "iam/test_iam.snapshot.json"
INVALID = ("ValidationException", 400)
ERROR = ("ValidationError", 400)
Call = Callable[[World, Any], Any]


def _rows(service: str, kind: tuple[str, int], rows: list[tuple[str, str, str, Call]]) -> None:
    for name, page, words, call in rows:

        @refused(page, *kind, words, name=f"{service}: {name}")
        def act(w: World, call: Call = call) -> None:
            call(w, w.client(w.theirs, service))


def _tags(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in pairs]


_rows(
    "kms",
    INVALID,
    [
        ("random bytes without a number", KMS, "NumberOfBytes is required.", lambda w, kms: kms.generate_random()),
        (
            "no random bytes",
            KMS,
            "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have "
            "value greater than or equal to 1",
            lambda w, kms: kms.generate_random(NumberOfBytes=0),
        ),
        (
            "1025 random bytes",
            KMS,
            "1 validation error detected: Value '1025' at 'numberOfBytes' failed to satisfy constraint: Member must "
            "have value less than or equal to 1024",
            lambda w, kms: kms.generate_random(NumberOfBytes=1025),
        ),
        (
            "a key spec that is none",
            KMS,
            "1 validation error detected: Value 'HMAC_random' at 'keySpec' failed to satisfy constraint: Member must "
            "satisfy enum value set: [",
            lambda w, kms: kms.create_key(KeySpec="HMAC_random", KeyUsage="GENERATE_VERIFY_MAC"),
        ),
        (
            "a key usage that is none",
            KMS,
            "1 validation error detected: Value 'RANDOM' at 'keyUsage' failed to satisfy constraint: Member must "
            "satisfy enum value set: [",
            lambda w, kms: kms.create_key(KeySpec="HMAC_256", KeyUsage="RANDOM"),
        ),
        (
            "a tag value of 257 characters",
            KMS,
            "at 'tags.1.member.tagValue' failed to satisfy constraint: Member must have length less than or equal to "
            "256",
            lambda w, kms: kms.create_key(Tags=_tags(("a", "v" * 257))),
        ),
        (
            "a tag key of 129 characters",
            KMS,
            "at 'tags.1.member.tagKey' failed to satisfy constraint: Member must have length less than or equal to 128",
            lambda w, kms: kms.create_key(Tags=_tags(("a" * 129, "v"))),
        ),
        (
            "a tag without anything",
            KMS_API + "API_Tag.html",
            "2 validation errors detected: ",
            lambda w, kms: kms.create_key(Tags=[{}]),
        ),
        (
            "a plaintext of 4097 bytes",
            KMS,
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length "
            "less than or equal to 4096",
            lambda w, kms: kms.encrypt(KeyId=w.key(w.theirs), Plaintext=b"x" * 4097),
        ),
        (
            "a code by an algorithm that is none",
            KMS,
            "1 validation error detected: Value 'INVALID' at 'macAlgorithm' failed to satisfy constraint: Member must "
            "satisfy enum value set: [",
            lambda w, kms: kms.generate_mac(KeyId=w.key(w.theirs), Message=b"x", MacAlgorithm="INVALID"),
        ),
        (
            "a check of a code by an algorithm that is none",
            KMS,
            "at 'macAlgorithm' failed to satisfy constraint: Member must satisfy enum value set: [",
            lambda w, kms: kms.verify_mac(KeyId=w.key(w.theirs), Message=b"x", Mac=b"y", MacAlgorithm="INVALID"),
        ),
        (
            "an alias without its prefix",
            KMS,
            'Alias must start with the prefix "alias/".',
            lambda w, kms: kms.create_alias(AliasName="fakealias", TargetKeyId=w.key(w.theirs)),
        ),
        (
            "a call without a key",
            KMS_API + "API_DescribeKey.html",
            "at 'keyId' failed to satisfy constraint: Member must not be null",
            lambda w, kms: kms.describe_key(),
        ),
        (
            "a call with an empty key",
            KMS_API + "API_DescribeKey.html",
            "Member must have length greater than or equal to 1",
            lambda w, kms: kms.describe_key(KeyId=""),
        ),
        (
            "a key of 2049 characters",
            KMS_API + "API_DescribeKey.html",
            "Member must have length less than or equal to 2048",
            lambda w, kms: kms.describe_key(KeyId="x" * 2049),
        ),
        (
            "a data key of 0 bytes",
            KMS_API + "API_GenerateDataKey.html",
            "at 'numberOfBytes' failed",
            lambda w, kms: kms.generate_data_key(KeyId=w.key(w.theirs), NumberOfBytes=0),
        ),
        (
            "a data key of a spec that is none",
            KMS_API + "API_GenerateDataKey.html",
            "at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [",
            lambda w, kms: kms.generate_data_key(KeyId=w.key(w.theirs), KeySpec="AES_512"),
        ),
        (
            "nothing to decrypt",
            KMS_API + "API_Decrypt.html",
            "at 'ciphertextBlob' failed to satisfy constraint",
            lambda w, kms: kms.decrypt(KeyId=w.key(w.theirs)),
        ),
        (
            "a grant for an operation that is none",
            KMS_API + "API_CreateGrant.html",
            "at 'operations' failed to satisfy constraint",
            lambda w, kms: kms.create_grant(
                KeyId=w.key(w.theirs), GranteePrincipal=f"arn:aws:iam::{w.theirs}:root", Operations=["PutKeyPolicy"]
            ),
        ),
        (
            "rotation every 89 days",
            KMS_API + "API_EnableKeyRotation.html",
            "Member must have value greater than or equal to 90",
            lambda w, kms: kms.enable_key_rotation(KeyId=w.key(w.theirs), RotationPeriodInDays=89),
        ),
        (
            "a page of no keys",
            KMS_API + "API_ListKeys.html",
            "at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1",
            lambda w, kms: kms.list_keys(Limit=0),
        ),
        (
            "deletion in 3 days",
            KMS_API + "API_ScheduleKeyDeletion.html",
            "PendingWindowInDays must be between 7 and 30",
            lambda w, kms: kms.schedule_key_deletion(KeyId=w.key(w.theirs), PendingWindowInDays=3),
        ),
        (
            "deletion in 6 days",
            "https://github.com/Skyscanner/kms-issuer/issues/8",
            "PendingWindowInDays must be between 7 and 30",
            lambda w, kms: kms.schedule_key_deletion(KeyId=w.key(w.theirs), PendingWindowInDays=6),
        ),
        (
            "deletion in 31 days",
            "https://github.com/Skyscanner/kms-issuer/issues/8",
            "PendingWindowInDays must be between 7 and 30",
            lambda w, kms: kms.schedule_key_deletion(KeyId=w.key(w.theirs), PendingWindowInDays=31),
        ),
    ],
)

_LONG_ROLE = "https://github.com/aws/eks-hybrid/pull/113"
_NAME = "https://github.com/app-sre/qontract-reconcile/pull/2640"
_rows(
    "iam",
    ERROR,
    [
        (
            "a user without a name",
            IAM_API + "API_CreateUser.html",
            "1 validation error detected: Value at 'userName' failed to satisfy constraint: Member must not be null",
            lambda w, iam: iam.create_user(),
        ),
        (
            "a role name of 65 characters",
            _LONG_ROLE,
            "1 validation error detected: Value at 'roleName' failed to satisfy constraint: Member must have length "
            "less than or equal to 64",
            lambda w, iam: iam.create_role(RoleName="r" * 65, AssumeRolePolicyDocument=policy(trusting(w.theirs))),
        ),
        (
            "a user name with braces",
            _NAME,
            "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the "
            "following: +=,.@_-",
            lambda w, iam: iam.get_user(UserName="{ocm}"),
        ),
        (
            "a role without a trust policy",
            IAM_API + "API_CreateRole.html",
            "at 'assumeRolePolicyDocument' failed to satisfy constraint: Member must not be null",
            lambda w, iam: iam.create_role(RoleName=w.name()),
        ),
        (
            "a status that is none",
            RECORDED,
            "1 validation error detected: Value at 'status' failed to satisfy constraint: Member must satisfy enum "
            "value set",
            lambda w, iam: iam.update_access_key(UserName="x", AccessKeyId="A" * 20, Status="Invalid"),
        ),
        (
            "an access key id with hyphens",
            RECORDED,
            "1 validation error detected: Value at 'accessKeyId' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: [\\w]+",
            lambda w, iam: iam.update_access_key(UserName="x", AccessKeyId="totally-wrong-id-", Status="Active"),
        ),
        (
            "no items on a page",
            IAM_API + "API_ListRoles.html",
            "at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1",
            lambda w, iam: iam.list_roles(MaxItems=0),
        ),
        (
            "a marker that nobody gave out",
            "https://github.com/trek10inc/awsets/pull/21",
            "Invalid Marker",
            lambda w, iam: iam.list_roles(Marker="nobody gave it out"),
        ),
        (
            "a tag without a value",
            IAM_API + "API_Tag.html",
            "at 'tags.1.member.value' failed to satisfy constraint: Member must not be null",
            lambda w, iam: iam.create_user(UserName=w.name(), Tags=[{"Key": "a"}]),
        ),
        (
            "51 tags",
            IAM_API + "API_CreateUser.html",
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
            lambda w, iam: iam.create_user(UserName=w.name(), Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(51)]),
        ),
        (
            "a session of a role of 899 seconds",
            IAM_API + "API_CreateRole.html",
            "at 'maxSessionDuration' failed to satisfy constraint: Member must have value greater than or equal to "
            "3600",
            lambda w, iam: iam.create_role(
                RoleName=w.name(), AssumeRolePolicyDocument=policy(trusting(w.theirs)), MaxSessionDuration=899
            ),
        ),
        (
            "a path without a slash",
            IAM_API + "API_CreateUser.html",
            "The specified value for path is invalid.",
            lambda w, iam: iam.create_user(UserName=w.name(), Path="engineers"),
        ),
        (
            "a policy in other letters",
            IAM_API + "API_PutUserPolicy.html",
            "The specified value for policyDocument is invalid. It must contain only printable ASCII characters.",
            lambda w, iam: iam.put_user_policy(
                UserName="x", PolicyName="p", PolicyDocument=policy(allow("*")) + "\u0416"
            ),
        ),
        (
            "a simulation of nothing",
            IAM_API + "API_SimulatePrincipalPolicy.html",
            "at 'actionNames' failed to satisfy constraint: Member must not be null",
            lambda w, iam: iam.simulate_principal_policy(PolicySourceArn=f"arn:aws:iam::{w.theirs}:user/nobody"),
        ),
        (
            "an ARN that is too short",
            IAM_API + "API_GetPolicy.html",
            "at 'policyArn' failed to satisfy constraint: Member must have length greater than or equal to 20",
            lambda w, iam: iam.get_policy(PolicyArn="arn:aws:iam"),
        ),
    ],
)


def _assume(role_arn: str, name: str = "session", **options: Any) -> Call:
    return lambda w, sts: sts.assume_role(RoleArn=role_arn, RoleSessionName=name, **options)


_ROLE = "arn:aws:iam::111122223333:role/nobody"
_rows(
    "sts",
    ERROR,
    [
        *(
            (f"a role ARN: {name}", STS, f"{arn} is invalid", _assume(arn))
            for name, arn in (
                ("malformed", "nothing-valid-in-here"),
                ("no partition", "arn::b:::something/test-role"),
                ("no service", "arn:a::::something/test-role"),
                ("too few colons", "arn:a:::something/test-role"),
                ("no resource", "arn:a:a::aaaaaaaaaa:"),
            )
        ),
        (
            "a session name with a colon",
            STS,
            "1 validation error detected: Value 'Session1:2' at 'roleSessionName' failed to satisfy constraint: Member "
            "must satisfy regular expression pattern: [\\w+=,.@-]*",
            _assume(_ROLE, "Session1:2"),
        ),
        (
            "51 tags",
            STS_API + "API_AssumeRole.html",
            "at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
            _assume(_ROLE, Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(51)]),
        ),
        (
            "a tag without a value",
            STS_API + "API_Tag.html",
            "at 'tags.1.member.value' failed to satisfy constraint: Member must not be null",
            _assume(_ROLE, Tags=[{"Key": "a"}]),
        ),
        (
            "a tag key of 129 characters",
            STS_API + "API_Tag.html",
            "at 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal to 128",
            _assume(_ROLE, Tags=[{"Key": "a" * 129, "Value": "v"}]),
        ),
        (
            "a source identity with a blank",
            STS_API + "API_AssumeRole.html",
            "at 'sourceIdentity' failed to satisfy constraint: Member must satisfy regular expression pattern",
            _assume(_ROLE, SourceIdentity="a person"),
        ),
        (
            "a call without anything",
            STS_API + "API_AssumeRole.html",
            "2 validation errors detected: ",
            lambda w, sts: sts.assume_role(),
        ),
    ],
)

COMMON = STS_API + "CommonErrors.html"


@refused(COMMON, "InvalidAction", 400, "Could not find operation GetSessionToken for version 2011-06-15", local=True)
def sts_an_operation_that_the_local_aws_leaves_out(w: World) -> None:
    w.client(w.theirs, "sts").get_session_token()


@refused(COMMON, "InvalidAction", 400, "Could not find operation Smell for version 2010-05-08")
def iam_an_operation_that_there_is_not(w: World) -> None:
    _raw(w, "iam", body="Action=Smell&Version=2010-05-08")


@refused(COMMON, "InvalidAction", 400, local=True)
def iam_an_operation_that_the_local_aws_leaves_out(w: World) -> None:
    w.client(w.theirs, "iam").generate_credential_report()


@refused(KMS_API + "CommonErrors.html", "UnknownOperationException", 400, local=True)
def kms_an_operation_that_the_local_aws_leaves_out(w: World) -> None:
    w.client(w.theirs, "kms").describe_custom_key_stores()


@refused(IAM_API + "CommonErrors.html", "MalformedInput", 400, local=True)
def iam_a_number_that_is_none(w: World) -> None:
    _raw(w, "iam", body="Action=ListRoles&Version=2010-05-08&MaxItems=many")


@refused(KMS_API + "CommonErrors.html", "SerializationException", 400, local=True)
def kms_a_blob_that_is_no_base64(w: World) -> None:
    _raw(w, "kms", body='{"CiphertextBlob": "no base64!"}', target="TrentService.Decrypt")
