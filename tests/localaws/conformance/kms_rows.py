"""KMS: key policies, states, contexts, ciphertexts, dry runs, grants, aliases, Regions and multi-Region keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.localaws.conformance.rows import IAM, KMS, KMS_API, LOCALSTACK, allowed, refused
from tests.localaws.conformance.world import ELSEWHERE, GUIDE, REGION, World, allow, deny, policy, trusting

STATES = KMS + "key-state.html"
POLICY = KMS + "key-policy-overview.html"
DEFAULT = KMS + "key-policy-default.html"
ACROSS = KMS + "key-policy-modifying-external-accounts.html"
CONTEXT = KMS + "encrypt_context.html"
CONDITIONS = KMS + "conditions-kms.html"
# The status is the one recorded from AWS; the API reference has 412.
DRY_RUN = LOCALSTACK + "kms/test_kms.snapshot.json"
GRANTS = KMS + "grants.html"
MULTI = KMS + "multi-region-keys-overview.html"
ALIASES = KMS + "kms-alias.html"
DENIED = ("AccessDeniedException", 400)
NO_KEY_POLICY = "because no resource-based policy allows the kms:"
HIDDEN = (
    "on this resource because the resource does not exist in this Region, no resource-based policies allow access, "
    "or a resource-based policy explicitly denies access"
)
MINE = {"tenant": "t1", "purpose": "test"}
PLAIN = b"sixteen bytes!!!"


def guide(arn: str, actions: Any = GUIDE, **more: Any) -> dict[str, Any]:
    """The guide's key policy statement."""
    return {
        "Sid": "AllowYourAppAccess",
        "Effect": "Allow",
        "Principal": {"AWS": arn},
        "Action": actions,
        "Resource": "*",
        **more,
    }


def encrypted(w: World, who: Any, key: str, context: dict[str, str] | None = None) -> bytes:
    blob: bytes = w.client(who, "kms").encrypt(
        KeyId=key, Plaintext=PLAIN, EncryptionContext=MINE if context is None else context
    )["CiphertextBlob"]
    return blob


# --- the key states ---------------------------------------------------------------------------------------------------

Act = Callable[[Any, str, bytes], Any]
OPERATIONS: dict[str, Act] = {
    "DescribeKey": lambda kms, key, blob: kms.describe_key(KeyId=key),
    "GetKeyPolicy": lambda kms, key, blob: kms.get_key_policy(KeyId=key, PolicyName="default"),
    "Encrypt": lambda kms, key, blob: kms.encrypt(KeyId=key, Plaintext=PLAIN),
    "Decrypt": lambda kms, key, blob: kms.decrypt(KeyId=key, CiphertextBlob=blob),
    "GenerateDataKey": lambda kms, key, blob: kms.generate_data_key(KeyId=key, KeySpec="AES_256"),
    "GenerateDataKeyWithoutPlaintext": lambda kms, key, blob: kms.generate_data_key_without_plaintext(
        KeyId=key, KeySpec="AES_256"
    ),
    "ReEncrypt": lambda kms, key, blob: kms.re_encrypt(CiphertextBlob=blob, SourceKeyId=key, DestinationKeyId=key),
    "CreateGrant": lambda kms, key, blob: kms.create_grant(
        KeyId=key, GranteePrincipal=_me(kms), Operations=["Decrypt"]
    ),
    "ListGrants": lambda kms, key, blob: kms.list_grants(KeyId=key),
    "EnableKey": lambda kms, key, blob: kms.enable_key(KeyId=key),
    "DisableKey": lambda kms, key, blob: kms.disable_key(KeyId=key),
    "EnableKeyRotation": lambda kms, key, blob: kms.enable_key_rotation(KeyId=key),
    "PutKeyPolicy": lambda kms, key, blob: kms.put_key_policy(
        KeyId=key, PolicyName="default", Policy=kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
    ),
    "TagResource": lambda kms, key, blob: kms.tag_resource(KeyId=key, Tags=[{"TagKey": "a", "TagValue": "b"}]),
    "ScheduleKeyDeletion": lambda kms, key, blob: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7),
    "CancelKeyDeletion": lambda kms, key, blob: kms.cancel_key_deletion(KeyId=key),
}


def _me(kms: Any) -> str:
    arn: str = kms.list_keys and kms._conformance_arn
    return arn


CRYPTO = {"Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "ReEncrypt"}
SWITCHES = {"EnableKey", "DisableKey"}
INVALID = "KMSInvalidStateException"
# State → operations that fail, with code and words. What is not here works.
FAILS: dict[str, dict[str, tuple[str, str]]] = {
    "Enabled": {"CancelKeyDeletion": (INVALID, "is not pending deletion.")},
    "Disabled": {
        **dict.fromkeys([*CRYPTO, "CreateGrant", "EnableKeyRotation"], ("DisabledException", "is disabled.")),
        "CancelKeyDeletion": (INVALID, "is not pending deletion."),
    },
    "PendingDeletion": dict.fromkeys(
        [*CRYPTO, *SWITCHES, "CreateGrant", "EnableKeyRotation", "TagResource", "ScheduleKeyDeletion"],
        (INVALID, "is pending deletion."),
    ),
    "PendingImport": {
        **dict.fromkeys([*CRYPTO, *SWITCHES, "CreateGrant"], (INVALID, "is pending import.")),
        "EnableKeyRotation": (
            "UnsupportedOperationException",
            "origin is EXTERNAL which is not valid for this operation.",
        ),
        "CancelKeyDeletion": (INVALID, "is not pending deletion."),
    },
    "Unavailable": {
        **dict.fromkeys(CRYPTO, (INVALID, "is unavailable.")),
        "CancelKeyDeletion": (INVALID, "is not pending deletion."),
    },
    "Creating": {
        **dict.fromkeys(
            [*CRYPTO, *SWITCHES, "CreateGrant", "EnableKeyRotation", "ScheduleKeyDeletion"], (INVALID, "is creating.")
        ),
        "CancelKeyDeletion": (INVALID, "is not pending deletion."),
    },
    "Updating": {
        **dict.fromkeys([*SWITCHES, "EnableKeyRotation", "ScheduleKeyDeletion"], (INVALID, "is updating.")),
        "CancelKeyDeletion": (INVALID, "is not pending deletion."),
    },
    "PendingReplicaDeletion": dict.fromkeys(
        [*CRYPTO, *SWITCHES, "CreateGrant", "EnableKeyRotation", "TagResource", "ScheduleKeyDeletion"],
        (INVALID, "is pending replica deletion."),
    ),
}
REACHABLE = {"Enabled", "Disabled", "PendingDeletion", "PendingImport"}  # the others come about inside AWS


def _in_state(w: World, state: str) -> tuple[Any, str, bytes]:
    kms = w.client(w.theirs, "kms")
    kms._conformance_arn = w.user(w.theirs)[0]
    key = w.key(w.theirs, **({"Origin": "EXTERNAL"} if state == "PendingImport" else {}))
    blob = b"x" if state == "PendingImport" else kms.encrypt(KeyId=key, Plaintext=PLAIN)["CiphertextBlob"]
    if state == "Disabled":
        kms.disable_key(KeyId=key)
    elif state == "PendingDeletion":
        kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    elif state not in REACHABLE:
        assert w.local
        w.local.set_fault("key-state", state, key=key)
    w.settle()
    return kms, key, blob


def _state_row(state: str, operation: str) -> None:
    def act(w: World) -> None:
        kms, key, blob = _in_state(w, state)
        answer = OPERATIONS[operation](kms, key, blob)
        if operation == "DescribeKey":
            assert answer["KeyMetadata"]["KeyState"] == state

    title, local = f"{operation} on a key that is {state}", state not in REACHABLE
    failure = FAILS[state].get(operation)
    if failure:
        refused(STATES, failure[0], 400, failure[1], name=title, local=local)(act)
    else:
        allowed(STATES, name=title, local=local)(act)


for _state in FAILS:
    for _operation in OPERATIONS:
        _state_row(_state, _operation)


@allowed(KMS + "deleting-keys-cancelling-key-deletion.html")
def a_cancelled_deletion_leaves_the_key_disabled(w: World) -> None:
    kms, key, _ = _in_state(w, "PendingDeletion")
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"]
    kms.cancel_key_deletion(KeyId=key)
    facts = kms.describe_key(KeyId=key)["KeyMetadata"]
    assert facts["KeyState"] == "Disabled"
    assert "DeletionDate" not in facts


# --- who may ----------------------------------------------------------------------------------------------------------


@allowed(DEFAULT)
def the_default_policy_lets_iam_policies_decide(w: World) -> None:
    _, session = w.insider(allow("kms:Encrypt"))
    encrypted(w, session, w.key(w.theirs))


@refused(DEFAULT, *DENIED, "because no identity-based policy allows the kms:Encrypt action")
def the_default_policy_alone_allows_no_role(w: World) -> None:
    _, session = w.insider()
    encrypted(w, session, w.key(w.theirs))


@refused(POLICY, *DENIED, NO_KEY_POLICY + "Encrypt action")
def iam_policies_alone_do_not_suffice(w: World) -> None:
    _, session = w.insider(allow("kms:*"))
    encrypted(w, session, w.key(w.theirs, guide(f"arn:aws:iam::{w.theirs}:root", "kms:DescribeKey")))


@allowed(POLICY)
def a_key_policy_that_names_the_role_suffices_in_its_account(w: World) -> None:
    arn, session = w.insider()
    encrypted(w, session, w.key(w.theirs, guide(arn)))


# The guide's statement in turn without each of its action patterns: the operation that needs it is refused.
NEEDS: list[tuple[str, str, Act]] = [
    ("kms:Encrypt", "kms:Encrypt", OPERATIONS["Encrypt"]),
    ("kms:Decrypt", "kms:Decrypt", OPERATIONS["Decrypt"]),
    ("kms:ReEncrypt*", "kms:ReEncryptFrom", OPERATIONS["ReEncrypt"]),
    ("kms:GenerateDataKey*", "kms:GenerateDataKey", OPERATIONS["GenerateDataKey"]),
    ("kms:GenerateDataKey*", "kms:GenerateDataKeyWithoutPlaintext", OPERATIONS["GenerateDataKeyWithoutPlaintext"]),
    ("kms:DescribeKey", "kms:DescribeKey", OPERATIONS["DescribeKey"]),
]


def _needs_row(pattern: str, action: str, act_: Act) -> None:
    def with_(w: World, actions: list[str]) -> None:
        arn, session = w.insider()
        key = w.key(w.theirs, guide(arn, actions))
        blob = w.client(w.theirs, "kms").encrypt(KeyId=key, Plaintext=PLAIN)["CiphertextBlob"]
        act_(w.client(session, "kms"), key, blob)

    @allowed(POLICY, name=f"key policy with {pattern}: {action}")
    def granted(w: World) -> None:
        with_(w, GUIDE)

    @refused(
        POLICY,
        *DENIED,
        f"{NO_KEY_POLICY}{action.removeprefix('kms:')} action",
        name=f"key policy without {pattern}: {action}",
    )
    def missing(w: World) -> None:
        with_(w, [each for each in GUIDE if each != pattern])

    @refused(
        POLICY,
        *DENIED,
        f"because no identity-based policy allows the {action} action",
        name=f"permissions policy without {pattern}: {action}",
    )
    def missing_in_identity(w: World) -> None:
        _, session = w.insider(allow([each for each in GUIDE if each != pattern]))
        key = w.key(w.theirs)
        blob = w.client(w.theirs, "kms").encrypt(KeyId=key, Plaintext=PLAIN)["CiphertextBlob"]
        act_(w.client(session, "kms"), key, blob)


for _need in NEEDS:
    _needs_row(*_need)


@refused(POLICY, *DENIED, "with an explicit deny in a resource-based policy")
def a_deny_in_the_key_policy_wins(w: World) -> None:
    arn, session = w.insider(allow("kms:*"))
    encrypted(w, session, w.key(w.theirs, guide(arn), guide(arn, "kms:Encrypt", Effect="Deny", Sid="No")))


@refused(POLICY, *DENIED, "with an explicit deny in an identity-based policy")
def a_deny_in_the_permissions_policy_wins(w: World) -> None:
    arn, session = w.insider(allow("kms:*"), deny("kms:Encrypt"))
    encrypted(w, session, w.key(w.theirs, guide(arn)))


@refused(
    IAM + "access_policies_boundaries.html", *DENIED, "because no permissions boundary allows the kms:Encrypt action"
)
def a_boundary_narrows_a_role_that_the_key_policy_names(w: World) -> None:
    boundary = w.managed(w.theirs, allow("kms:DescribeKey"))
    arn = w.role(w.theirs, policy(trusting(w.theirs)), allow("kms:*"), boundary=boundary)
    encrypted(w, w.session(w.theirs, arn), w.key(w.theirs, guide(arn)))


@refused(
    IAM + "access_policies.html#policies_session", *DENIED, "because no session policy allows the kms:Encrypt action"
)
def a_session_policy_narrows_a_role_that_the_key_policy_names(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)))
    session = w.session(w.theirs, arn, Policy=policy(allow("kms:DescribeKey")))
    encrypted(w, session, w.key(w.theirs, guide(arn)))


@allowed(IAM + "reference_policies_evaluation-logic_policy-eval-basics.html")
def a_session_policy_does_not_narrow_a_session_that_the_key_policy_names(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)))
    session = w.session(w.theirs, arn, Policy=policy(allow("kms:DescribeKey")))
    named = arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/conformance"
    encrypted(w, session, w.key(w.theirs, guide(named)))


@allowed(IAM + "reference_policies_evaluation-logic_policy-eval-basics.html")
def a_boundary_does_not_narrow_a_user_that_the_key_policy_names(w: World) -> None:
    arn, keys = w.user(w.theirs, boundary=w.managed(w.theirs, allow("s3:*")))
    encrypted(w, keys, w.key(w.theirs, guide(arn)))


@refused(IAM + "reference_policies_elements_principal.html", *DENIED)
def a_role_that_was_made_again_is_not_the_one_in_the_key_policy(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)))
    key = w.key(w.theirs, guide(arn))
    w.client(w.theirs, "iam").delete_role(RoleName=arn.rpartition("/")[2])
    w.role(w.theirs, policy(trusting(w.theirs)), allow("kms:*"), name=arn.rpartition("/")[2])
    encrypted(w, w.session(w.theirs, arn), key)


@allowed(IAM + "reference_policies_evaluation-logic_policy-eval-basics.html")
def a_boundary_does_not_narrow_where_everybody_is_named(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)), boundary=w.managed(w.theirs, allow("s3:*")))
    everybody = guide(arn, Principal="*", Condition={"ArnEquals": {"aws:PrincipalArn": arn}})
    encrypted(w, w.session(w.theirs, arn), w.key(w.theirs, everybody))


PUT = KMS_API + "API_PutKeyPolicy.html"


@refused(PUT, *DENIED, NO_KEY_POLICY + "Encrypt action")
def a_statement_without_resource_is_saved_and_has_no_effect(w: World) -> None:
    arn, session = w.insider(allow("kms:*"))
    statement = guide(arn)
    del statement["Resource"]
    encrypted(w, session, w.key(w.theirs, statement))


@allowed(PUT)
def a_deny_without_resource_has_no_effect(w: World) -> None:
    arn, session = w.insider(allow("kms:*"))
    statement = guide(arn, Effect="Deny", Sid="No")
    del statement["Resource"]
    encrypted(w, session, w.key(w.theirs, guide(arn), statement))


@refused(PUT, *DENIED, NO_KEY_POLICY + "Encrypt action")
def a_statement_without_action_is_saved_and_has_no_effect(w: World) -> None:
    arn, session = w.insider(allow("kms:*"))
    statement = guide(arn)
    del statement["Action"]
    encrypted(w, session, w.key(w.theirs, statement))


@refused(PUT, "ValidationException", 400)
def a_key_policy_in_other_letters(w: World) -> None:
    text = json.dumps(
        {"Version": "2012-10-17", "Statement": [{**w.owner(w.theirs), "Sid": "\u0416"}]}, ensure_ascii=False
    )
    w.client(w.theirs, "kms").put_key_policy(KeyId=w.key(w.theirs), PolicyName="default", Policy=text)


@refused(
    IAM + "reference_policies_elements_notprincipal.html", *DENIED, "with an explicit deny in a resource-based policy"
)
def a_deny_for_all_but_one_spares_nobody_with_a_boundary(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)), allow("kms:*"), boundary=w.managed(w.theirs, allow("*")))
    session = arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/conformance"
    deny_ = guide(arn, "kms:Encrypt", Effect="Deny", Sid="No")
    del deny_["Principal"]
    deny_["NotPrincipal"] = {"AWS": [w.theirs, arn, session]}
    encrypted(w, w.session(w.theirs, arn), w.key(w.theirs, guide(arn), deny_))


# (name, Condition of the guide's statement, context of the call, whether it works)
ON_CONDITION: list[tuple[str, dict[str, Any], dict[str, str], bool]] = [
    ("the encryption context, met", {"StringEquals": {"kms:EncryptionContext:tenant": "t1"}}, MINE, True),
    ("the encryption context, another", {"StringEquals": {"kms:EncryptionContext:tenant": "t2"}}, MINE, False),
    ("the encryption context, none", {"StringEquals": {"kms:EncryptionContext:tenant": "t1"}}, {}, False),
    (
        "the context's keys, all known",
        {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant", "purpose"]}},
        MINE,
        True,
    ),
    (
        "the context's keys, one unknown",
        {"ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["tenant"]}},
        MINE,
        False,
    ),
    (
        "the context's keys, any of them",
        {"ForAnyValue:StringEquals": {"kms:EncryptionContextKeys": ["tenant"]}},
        MINE,
        True,
    ),
    ("the caller's account", {"StringEquals": {"kms:CallerAccount": "111122223333"}}, MINE, True),
    ("another caller's account", {"StringEquals": {"kms:CallerAccount": "999900001111"}}, MINE, False),
    ("a service in between", {"StringEquals": {"kms:ViaService": "s3.eu-central-1.amazonaws.com"}}, MINE, False),
    ("the key spec", {"StringEquals": {"kms:KeySpec": "SYMMETRIC_DEFAULT"}}, MINE, True),
    ("the key's origin", {"StringEquals": {"kms:KeyOrigin": "EXTERNAL"}}, MINE, False),
    ("single-Region keys", {"Bool": {"kms:MultiRegion": "false"}}, MINE, True),
    ("an alias that it has not", {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/x"}}, MINE, False),
    ("an address", {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, MINE, False),
    ("the role by ARN", {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/byok-*"}}, MINE, True),
    ("a variable", {"StringEquals": {"kms:EncryptionContext:purpose": "${kms:EncryptionContext:purpose}"}}, MINE, True),
    (
        "a variable without a value",
        {"StringNotEquals": {"kms:EncryptionContext:tenant": "${aws:PrincipalTag/tenant}"}},
        MINE,
        False,
    ),
    ("another role by ARN", {"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::111122223333:role/another"}}, MINE, False),
]


def _on_condition_row(name: str, condition: dict[str, Any], context: dict[str, str], works: bool) -> None:
    def act(w: World) -> None:
        arn, session = w.insider()
        text = json.dumps(condition).replace("111122223333", w.theirs).replace("999900001111", w.ours)
        encrypted(w, session, w.key(w.theirs, guide(arn, Condition=json.loads(text))), context)

    title = f"key policy on condition of {name}"
    if works:
        allowed(CONDITIONS, name=title)(act)
    else:
        refused(CONDITIONS, *DENIED, NO_KEY_POLICY + "Encrypt action", name=title)(act)


for _on in ON_CONDITION:
    _on_condition_row(*_on)


# --- across accounts --------------------------------------------------------------------------------------------------


def _across(w: World, *identity: dict[str, Any], key_policy: bool = True) -> Any:
    """A role of ours uses a key of theirs."""
    arn = w.role(w.ours, policy(trusting(w.ours)), *identity)
    key = w.key(w.theirs, *([guide(arn)] if key_policy else []))
    return encrypted(w, w.session(w.ours, arn), key)


@allowed(ACROSS)
def across_accounts_both_sides_allow(w: World) -> None:
    _across(w, allow(GUIDE))


@refused(ACROSS, *DENIED, "because no identity-based policy allows the kms:Encrypt action")
def across_accounts_the_callers_side_is_missing(w: World) -> None:
    _across(w)


@refused(ACROSS, *DENIED, HIDDEN)
def across_accounts_the_key_policy_is_missing(w: World) -> None:
    _across(w, allow("kms:*"), key_policy=False)


@refused(ACROSS, *DENIED, HIDDEN)
def across_accounts_there_is_no_such_key(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), allow("kms:*"))
    encrypted(w, w.session(w.ours, arn), f"arn:aws:kms:{REGION}:{w.theirs}:key/1234abcd-12ab-34cd-56ef-1234567890ab")


@allowed(ACROSS)
def across_accounts_the_account_may_be_named(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), allow("kms:*"))
    encrypted(w, w.session(w.ours, arn), w.key(w.theirs, guide(f"arn:aws:iam::{w.ours}:root")))


@refused(KMS_API + "API_PutKeyPolicy.html", *DENIED)
def across_accounts_nobody_changes_the_key_policy(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), allow("kms:*"))
    key = w.key(w.theirs, guide(arn, "kms:*"))
    w.client(w.session(w.ours, arn), "kms").put_key_policy(
        KeyId=key, PolicyName="default", Policy=policy(w.owner(w.theirs))
    )


@refused(
    "https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html", *DENIED, local=True
)
def their_organization_keeps_outsiders_from_its_keys(w: World) -> None:
    assert w.local
    full = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    outside = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "kms:*",
        "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:PrincipalAccount": w.theirs}},
    }
    w.local.organization(w.theirs, rcps=[{"Version": "2012-10-17", "Statement": [full, outside]}])
    _across(w, allow(GUIDE))


# --- ciphertexts and contexts -----------------------------------------------------------------------------------------


def _blob(w: World) -> tuple[Any, str, bytes]:
    kms, key = w.client(w.theirs, "kms"), w.key(w.theirs)
    return kms, key, encrypted(w, w.theirs, key)


@allowed(CONTEXT)
def the_same_context_opens(w: World) -> None:
    kms, key, blob = _blob(w)
    answer = kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(reversed(MINE.items())))
    assert answer["Plaintext"] == PLAIN
    assert answer["KeyId"] == key


# (name, context)
OTHER_CONTEXTS: list[tuple[str, dict[str, str]]] = [
    ("no context", {}),
    ("another value", {**MINE, "tenant": "t2"}),
    ("one pair less", {"tenant": "t1"}),
    ("one pair more", {**MINE, "more": "x"}),
    ("another case", {"Tenant": "t1", "purpose": "test"}),
]


def _context_row(name: str, context: dict[str, str]) -> None:
    @refused(CONTEXT, "InvalidCiphertextException", 400, message="", name=f"decrypt with {name}")
    def act(w: World) -> None:
        kms, key, blob = _blob(w)
        kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=context)


for _other in OTHER_CONTEXTS:
    _context_row(*_other)


@refused(KMS_API + "API_Decrypt.html", "InvalidCiphertextException", 400, message="")
def a_damaged_ciphertext(w: World) -> None:
    kms, key, blob = _blob(w)
    kms.decrypt(KeyId=key, CiphertextBlob=blob[:-1] + bytes([blob[-1] ^ 1]), EncryptionContext=MINE)


@refused(KMS_API + "API_Decrypt.html", "InvalidCiphertextException", 400, message="")
def no_ciphertext_at_all(w: World) -> None:
    kms, key, _ = _blob(w)
    kms.decrypt(KeyId=key, CiphertextBlob=b"something else", EncryptionContext=MINE)


@refused(KMS_API + "API_Decrypt.html", "IncorrectKeyException", 400)
def another_key_than_the_one_that_made_it(w: World) -> None:
    kms, _, blob = _blob(w)
    kms.decrypt(KeyId=w.key(w.theirs), CiphertextBlob=blob, EncryptionContext=MINE)


@refused(
    KMS_API + "API_Encrypt.html",
    "ValidationException",
    400,
    "at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
)
def a_plaintext_of_4097_bytes(w: World) -> None:
    w.client(w.theirs, "kms").encrypt(KeyId=w.key(w.theirs), Plaintext=b"x" * 4_097)


@allowed(KMS_API + "API_Encrypt.html")
def a_plaintext_of_4096_bytes(w: World) -> None:
    w.client(w.theirs, "kms").encrypt(KeyId=w.key(w.theirs), Plaintext=b"x" * 4_096)


@allowed(KMS_API + "API_GenerateDataKey.html")
def a_data_key_opens_to_itself(w: World) -> None:
    kms, key = w.client(w.theirs, "kms"), w.key(w.theirs)
    made = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=MINE)
    assert len(made["Plaintext"]) == 32
    assert kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=MINE)["Plaintext"] == made["Plaintext"]
    assert "Plaintext" not in kms.generate_data_key_without_plaintext(KeyId=key, KeySpec="AES_256")


@refused(
    KMS_API + "API_GenerateDataKey.html",
    "ValidationException",
    400,
    "Please specify either number of bytes or key spec.",
)
def a_data_key_of_two_lengths(w: World) -> None:
    w.client(w.theirs, "kms").generate_data_key(KeyId=w.key(w.theirs), KeySpec="AES_256", NumberOfBytes=32)


# --- ReEncrypt --------------------------------------------------------------------------------------------------------


def _re_encrypt(w: World, source_actions: list[str], destination_actions: list[str], **options: Any) -> Any:
    arn, session = w.insider()
    source, destination = w.key(w.theirs, guide(arn, source_actions)), w.key(w.theirs, guide(arn, destination_actions))
    blob = encrypted(w, w.theirs, source)
    options = {"SourceEncryptionContext": MINE, "DestinationEncryptionContext": {"tenant": "t9"}, **options}
    return w.client(session, "kms").re_encrypt(CiphertextBlob=blob, DestinationKeyId=destination, **options)


@allowed(KMS_API + "API_ReEncrypt.html")
def re_encrypt_from_one_key_to_another(w: World) -> None:
    answer = _re_encrypt(w, ["kms:ReEncryptFrom"], ["kms:ReEncryptTo"])
    opened = w.client(w.theirs, "kms").decrypt(
        CiphertextBlob=answer["CiphertextBlob"], EncryptionContext={"tenant": "t9"}
    )
    assert opened["Plaintext"] == PLAIN


@refused(KMS_API + "API_ReEncrypt.html", *DENIED, "kms:ReEncryptFrom")
def re_encrypt_without_from(w: World) -> None:
    _re_encrypt(w, ["kms:ReEncryptTo"], ["kms:ReEncrypt*"])


@refused(KMS_API + "API_ReEncrypt.html", *DENIED, "kms:ReEncryptTo")
def re_encrypt_without_to(w: World) -> None:
    _re_encrypt(w, ["kms:ReEncrypt*"], ["kms:ReEncryptFrom"])


@refused(KMS_API + "API_ReEncrypt.html", "InvalidCiphertextException", 400, message="")
def re_encrypt_with_another_source_context(w: World) -> None:
    _re_encrypt(w, ["kms:ReEncrypt*"], ["kms:ReEncrypt*"], SourceEncryptionContext={})


@refused(KMS_API + "API_ReEncrypt.html", "IncorrectKeyException", 400)
def re_encrypt_with_another_source_key(w: World) -> None:
    kms, key, blob = _blob(w)
    kms.re_encrypt(CiphertextBlob=blob, SourceKeyId=w.key(w.theirs), DestinationKeyId=key, SourceEncryptionContext=MINE)


@refused(KMS_API + "API_ReEncrypt.html", "DisabledException", 400)
def re_encrypt_to_a_disabled_key(w: World) -> None:
    kms, _, blob = _blob(w)
    other = w.key(w.theirs)
    kms.disable_key(KeyId=other)
    w.settle()
    kms.re_encrypt(CiphertextBlob=blob, DestinationKeyId=other, SourceEncryptionContext=MINE)


# --- dry runs ---------------------------------------------------------------------------------------------------------

DRY: dict[str, Act] = {
    "Encrypt": lambda kms, key, blob: kms.encrypt(KeyId=key, Plaintext=PLAIN, DryRun=True),
    "Decrypt": lambda kms, key, blob: kms.decrypt(KeyId=key, CiphertextBlob=blob, EncryptionContext=MINE, DryRun=True),
    "GenerateDataKey": lambda kms, key, blob: kms.generate_data_key(KeyId=key, KeySpec="AES_256", DryRun=True),
    "GenerateDataKeyWithoutPlaintext": lambda kms, key, blob: kms.generate_data_key_without_plaintext(
        KeyId=key, KeySpec="AES_256", DryRun=True
    ),
    "ReEncrypt": lambda kms, key, blob: kms.re_encrypt(
        CiphertextBlob=blob, DestinationKeyId=key, SourceEncryptionContext=MINE, DryRun=True
    ),
    "CreateGrant": lambda kms, key, blob: kms.create_grant(
        KeyId=key, GranteePrincipal=kms._conformance_arn, Operations=["Decrypt"], DryRun=True
    ),
}


def _dry_row(operation: str, act_: Act) -> None:
    @refused(DRY_RUN, "DryRunOperationException", 400, name=f"dry run of {operation}, permitted")
    def permitted(w: World) -> None:
        kms, key, blob = _blob(w)
        kms._conformance_arn = w.user(w.theirs)[0]
        act_(kms, key, blob)

    @refused(DRY_RUN, *DENIED, name=f"dry run of {operation}, not permitted")
    def not_permitted(w: World) -> None:
        _, key, blob = _blob(w)
        arn, session = w.insider()
        kms = w.client(session, "kms")
        kms._conformance_arn = arn
        act_(kms, key, blob)


for _dry, _act in DRY.items():
    _dry_row(_dry, _act)


# --- grants -----------------------------------------------------------------------------------------------------------


def _granted(w: World, **options: Any) -> tuple[dict[str, str], str, dict[str, Any]]:
    arn, session = w.insider()
    key = w.key(w.theirs)
    grant = w.client(w.theirs, "kms").create_grant(
        KeyId=key, GranteePrincipal=arn, Operations=["Encrypt", "RetireGrant"], **options
    )
    w.settle()
    return session, key, grant


@allowed(GRANTS)
def a_grant_allows_what_no_policy_does(w: World) -> None:
    session, key, _ = _granted(w)
    encrypted(w, session, key)


@refused(GRANTS, *DENIED)
def a_grant_allows_its_operations_only(w: World) -> None:
    session, key, _ = _granted(w)
    w.client(session, "kms").generate_data_key(KeyId=key, KeySpec="AES_256")


@refused(GRANTS, *DENIED)
def a_grant_with_another_context(w: World) -> None:
    session, key, _ = _granted(w, Constraints={"EncryptionContextEquals": {"tenant": "t1"}})
    encrypted(w, session, key)


@allowed(GRANTS)
def a_grant_with_a_part_of_the_context(w: World) -> None:
    session, key, _ = _granted(w, Constraints={"EncryptionContextSubset": {"tenant": "t1"}})
    encrypted(w, session, key)


@refused(GRANTS, *DENIED)
def a_revoked_grant(w: World) -> None:
    session, key, grant = _granted(w)
    kms = w.client(w.theirs, "kms")
    assert [each["GrantId"] for each in kms.list_grants(KeyId=key)["Grants"]] == [grant["GrantId"]]
    kms.revoke_grant(KeyId=key, GrantId=grant["GrantId"])
    w.settle()
    encrypted(w, session, key)


@refused(GRANTS, *DENIED)
def a_retired_grant(w: World) -> None:
    session, key, grant = _granted(w)
    w.client(session, "kms").retire_grant(KeyId=key, GrantId=grant["GrantId"])
    w.settle()
    encrypted(w, session, key)


@refused(GRANTS, *DENIED)
def a_grant_for_a_role_that_was_made_again(w: World) -> None:
    arn = w.role(w.theirs, policy(trusting(w.theirs)))
    key, name, iam = w.key(w.theirs, w.owner(w.theirs)), arn.rpartition("/")[2], w.client(w.theirs, "iam")
    w.client(w.theirs, "kms").create_grant(KeyId=key, GranteePrincipal=arn, Operations=["Encrypt"])
    iam.delete_role(RoleName=name)
    w.role(w.theirs, policy(trusting(w.theirs)), name=name)
    encrypted(w, w.session(w.theirs, arn), key)


@refused(GRANTS, *DENIED)
def a_grant_and_a_deny(w: World) -> None:
    arn, session = w.insider(deny("kms:Encrypt"))
    key = w.key(w.theirs)
    w.client(w.theirs, "kms").create_grant(KeyId=key, GranteePrincipal=arn, Operations=["Encrypt"])
    encrypted(w, session, key)


@refused(KMS_API + "API_CreateGrant.html", "InvalidArnException", 400)
def a_grant_for_nobody(w: World) -> None:
    w.client(w.theirs, "kms").create_grant(
        KeyId=w.key(w.theirs), GranteePrincipal=f"arn:aws:iam::{w.theirs}:role/nobody", Operations=["Encrypt"]
    )


# --- names, Regions, kinds --------------------------------------------------------------------------------------------


@refused(KMS_API + "API_DescribeKey.html", "NotFoundException", 400, "does not exist")
def a_key_that_is_not_there(w: World) -> None:
    w.client(w.theirs, "kms").describe_key(KeyId="1234abcd-12ab-34cd-56ef-1234567890ab")


@refused(KMS_API + "API_DescribeKey.html", "NotFoundException", 400, message="Invalid keyId 'fake-key-id'")
def a_key_id_that_is_none(w: World) -> None:
    w.client(w.theirs, "kms").describe_key(KeyId="fake-key-id")


@refused(KMS_API + "API_DescribeKey.html", "NotFoundException", 400, message="Invalid arn eu-west-1")
def a_key_of_another_region(w: World) -> None:
    w.client(w.theirs, "kms").describe_key(
        KeyId=f"arn:aws:kms:{ELSEWHERE}:{w.theirs}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    )


@refused(KMS_API + "API_DescribeKey.html", "NotFoundException", 400, "does not exist")
def a_bare_key_id_in_another_region(w: World) -> None:
    w.client(w.theirs, "kms", ELSEWHERE).describe_key(KeyId=w.key(w.theirs).rpartition("/")[2])


@refused(ALIASES, "NotFoundException", 400, "is not found.")
def an_alias_that_is_not_there(w: World) -> None:
    w.client(w.theirs, "kms").describe_key(KeyId="alias/byok-nothing")


@allowed(ALIASES)
def an_alias_stands_for_its_key(w: World) -> None:
    kms, key, alias = w.client(w.theirs, "kms"), w.key(w.theirs), f"alias/{w.name()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    assert kms.encrypt(KeyId=alias, Plaintext=PLAIN)["KeyId"] == key
    arn = key.rpartition(":")[0] + f":{alias}"
    assert kms.describe_key(KeyId=arn)["KeyMetadata"]["Arn"] == key
    kms.delete_alias(AliasName=alias)


@refused(ALIASES, "InvalidArnException", 400, "Key Aliases are not supported for this operation")
def an_alias_where_none_is_taken(w: World) -> None:
    kms, key, alias = w.client(w.theirs, "kms"), w.key(w.theirs), f"alias/{w.name()}"
    kms.create_alias(AliasName=alias, TargetKeyId=key)
    w._undo.append(lambda: kms.delete_alias(AliasName=alias))
    kms.get_key_policy(KeyId=key.rpartition(":")[0] + f":{alias}", PolicyName="default")


@refused(
    KMS_API + "API_Encrypt.html",
    "InvalidKeyUsageException",
    400,
    "key usage is SIGN_VERIFY which is not valid for Encrypt.",
)
def a_key_for_signing(w: World) -> None:
    encrypted(w, w.theirs, w.key(w.theirs, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY"))


@refused(KMS_API + "API_Encrypt.html", "InvalidKeyUsageException", 400, "is incompatible with key spec RSA_2048.")
def an_asymmetric_key(w: World) -> None:
    w.client(w.theirs, "kms").encrypt(
        KeyId=w.key(w.theirs, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"), Plaintext=PLAIN
    )


@refused(KMS_API + "API_GenerateDataKey.html", "InvalidKeyUsageException", 400)
def a_data_key_under_an_asymmetric_key(w: World) -> None:
    w.client(w.theirs, "kms").generate_data_key(
        KeyId=w.key(w.theirs, KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT"), KeySpec="AES_256"
    )


@refused(KMS_API + "API_GetPublicKey.html", "UnsupportedOperationException", 400)
def the_public_key_of_a_symmetric_key(w: World) -> None:
    w.client(w.theirs, "kms").get_public_key(KeyId=w.key(w.theirs))


@refused(KMS_API + "API_Sign.html", "InvalidKeyUsageException", 400)
def a_symmetric_key_does_not_sign(w: World) -> None:
    w.client(w.theirs, "kms").sign(KeyId=w.key(w.theirs), Message=b"x", SigningAlgorithm="RSASSA_PSS_SHA_256")


@allowed(KMS_API + "API_Verify.html")
def a_key_pair_signs_verifies_and_shows_its_public_half(w: World) -> None:
    kms, key = w.client(w.theirs, "kms"), w.key(w.theirs, KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")
    asked = {"KeyId": key, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert kms.verify(**asked, Signature=kms.sign(**asked)["Signature"])["SignatureValid"]
    assert kms.get_public_key(KeyId=key)["PublicKey"]


@allowed(KMS + "concepts.html#aws-managed-key")
def an_aws_managed_key_says_so(w: World) -> None:
    facts = w.client(w.theirs, "kms").describe_key(KeyId="alias/aws/s3")["KeyMetadata"]
    assert facts["KeyManager"] == "AWS"


@refused(KMS + "concepts.html#aws-managed-key", *DENIED)
def an_aws_managed_key_is_for_its_service_alone(w: World) -> None:
    kms = w.client(w.theirs, "kms")
    encrypted(w, w.theirs, kms.describe_key(KeyId="alias/aws/s3")["KeyMetadata"]["Arn"])


@allowed(MULTI)
def a_replica_opens_what_the_primary_made(w: World) -> None:
    kms, key = w.client(w.theirs, "kms"), w.key(w.theirs, MultiRegion=True)
    assert "/mrk-" in key
    blob = encrypted(w, w.theirs, key)
    replica = kms.replicate_key(KeyId=key, ReplicaRegion=ELSEWHERE)["ReplicaKeyMetadata"]["Arn"]
    there = w.client(w.theirs, "kms", ELSEWHERE)
    w._undo.append(lambda: there.schedule_key_deletion(KeyId=replica, PendingWindowInDays=7))
    if w.local is None:
        _wait_for(there, replica)
    assert there.decrypt(CiphertextBlob=blob, EncryptionContext=MINE)["Plaintext"] == PLAIN
    assert (
        there.describe_key(KeyId=replica)["KeyMetadata"]["MultiRegionConfiguration"]["MultiRegionKeyType"] == "REPLICA"
    )


def _wait_for(kms: Any, key: str) -> None:
    import time

    while kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "Creating":
        time.sleep(2)


@refused(MULTI, "UnsupportedOperationException", 400, "is not a multi-region primary key.")
def a_key_of_one_region_has_no_replicas(w: World) -> None:
    w.client(w.theirs, "kms").replicate_key(KeyId=w.key(w.theirs), ReplicaRegion=ELSEWHERE)


@allowed(KMS + "multi-region-keys-delete.html")
def a_primary_with_replicas_waits_for_their_deletion(w: World) -> None:
    kms, key = w.client(w.theirs, "kms"), w.key(w.theirs, MultiRegion=True)
    replica = kms.replicate_key(KeyId=key, ReplicaRegion=ELSEWHERE)["ReplicaKeyMetadata"]["Arn"]
    there = w.client(w.theirs, "kms", ELSEWHERE)
    if w.local is None:
        _wait_for(there, replica)
    kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingReplicaDeletion"
    there.schedule_key_deletion(KeyId=replica, PendingWindowInDays=7)


@allowed(KMS_API + "API_GenerateRandom.html")
def random_bytes_need_no_key(w: World) -> None:
    assert len(w.client(w.theirs, "kms").generate_random(NumberOfBytes=16)["Plaintext"]) == 16


# --- key policies that are not taken ----------------------------------------------------------------------------------


def _put(w: World, document: str, **options: Any) -> None:
    key = w.key(w.theirs)
    w.client(w.theirs, "kms").put_key_policy(KeyId=key, PolicyName="default", Policy=document, **options)


@refused(
    DEFAULT,
    "MalformedPolicyDocumentException",
    400,
    "The new key policy will not allow you to update the key policy in the future.",
)
def a_key_policy_that_locks_its_author_out(w: World) -> None:
    _put(w, policy(guide(w.role(w.theirs, policy(trusting(w.theirs))))))


@refused(
    DEFAULT,
    "MalformedPolicyDocumentException",
    400,
    "The new key policy will not allow you to update the key policy in the future.",
    local=True,
)
def a_key_policy_that_denies_its_author(w: World) -> None:
    _put(
        w,
        policy(w.owner(w.theirs), {"Effect": "Deny", "Principal": "*", "Action": "kms:PutKeyPolicy", "Resource": "*"}),
    )


@refused(DEFAULT, "MalformedPolicyDocumentException", 400)
def a_key_policy_that_is_no_json(w: World) -> None:
    _put(w, "{")


@refused(
    POLICY, "MalformedPolicyDocumentException", 400, "Policy contains a statement with one or more invalid principals."
)
def a_key_policy_for_nobody(w: World) -> None:
    _put(w, policy(w.owner(w.theirs), guide(f"arn:aws:iam::{w.theirs}:role/nobody")))


@refused(
    POLICY, "MalformedPolicyDocumentException", 400, "Policy contains a statement with one or more invalid principals."
)
def a_key_for_nobody(w: World) -> None:
    w.key(w.theirs, guide(f"arn:aws:iam::{w.theirs}:role/nobody"))


@refused(POLICY, *DENIED, NO_KEY_POLICY + "Encrypt action")
def a_statement_about_another_key(w: World) -> None:
    arn, session = w.insider()
    encrypted(
        w,
        session,
        w.key(
            w.theirs, guide(arn, Resource=f"arn:aws:kms:{REGION}:{w.theirs}:key/1234abcd-12ab-34cd-56ef-1234567890ab")
        ),
    )
