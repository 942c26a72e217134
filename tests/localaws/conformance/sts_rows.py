"""AssumeRole: trust policies, External IDs, conditions, both sides' say, durations and names."""

from __future__ import annotations

import json
from typing import Any

from tests.localaws.conformance.rows import IAM, STS_API, allowed, refused
from tests.localaws.conformance.world import ELSEWHERE, EVERYTHING, World, allow, deny, policy, trusting

EXTERNAL = IAM + "id_roles_common-scenarios_third-party.html"
LOGIC = IAM + "reference_policies_evaluation-logic-cross-account.html"
SAME = IAM + "reference_policies_evaluation-logic_policy-eval-basics.html"
PRINCIPAL = IAM + "reference_policies_elements_principal.html"
OPERATORS = IAM + "reference_policies_elements_condition_operators.html"
SETS = IAM + "reference_policies_condition-single-vs-multi-valued-context-keys.html"
ASSUME = STS_API + "API_AssumeRole.html"
TERMS = IAM + "id_roles.html#iam-term-role-chaining"
ID = "byok-Aa1_right"
DENIED = ("AccessDenied", 403, "is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::")


def cross(w: World, *trust: dict[str, Any], name: str = "conformance", **options: Any) -> Any:
    """As our role, assume a role of theirs whose trust policy has these statements;
    `OURS` stands for our role's ARN."""
    arn, session = w.us()
    text = policy(*trust).replace('"OURS"', json.dumps(arn)).replace("OURS_SESSION", _session_arn(arn))
    role = w.role(w.theirs, text)
    return w.client(session, "sts").assume_role(RoleArn=role, RoleSessionName=name, **options)


def _session_arn(role_arn: str) -> str:
    return role_arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/conformance"


EXACT = {"StringEquals": {"sts:ExternalId": ID}}


@allowed(EXTERNAL)
def the_external_id_is_right(w: World) -> None:
    cross(w, trusting("OURS", **EXACT), ExternalId=ID)


@refused(EXTERNAL, *DENIED)
def the_external_id_is_missing(w: World) -> None:
    cross(w, trusting("OURS", **EXACT))


@refused(EXTERNAL, *DENIED)
def the_external_id_is_wrong(w: World) -> None:
    cross(w, trusting("OURS", **EXACT), ExternalId="another")


@refused(OPERATORS, *DENIED)
def the_external_id_is_of_another_case(w: World) -> None:
    cross(w, trusting("OURS", **EXACT), ExternalId=ID.swapcase())


# (name, Condition of the trust policy, External ID sent, whether AWS lets us in, page)
CONDITIONS: list[tuple[str, dict[str, Any], str | None, bool, str]] = [
    ("no condition, any id", {}, "whatever", True, EXTERNAL),
    ("no condition, no id", {}, None, True, EXTERNAL),
    ("one of a list", {"StringEquals": {"sts:ExternalId": ["x1", ID]}}, ID, True, SETS),
    ("none of a list", {"StringEquals": {"sts:ExternalId": ["x1", "x2"]}}, ID, False, SETS),
    ("StringLike star", {"StringLike": {"sts:ExternalId": "*"}}, "zz", True, OPERATORS),
    ("StringLike star without an id", {"StringLike": {"sts:ExternalId": "*"}}, None, False, OPERATORS),
    ("StringLike prefix", {"StringLike": {"sts:ExternalId": "byok-*"}}, ID, True, OPERATORS),
    ("StringLike one character", {"StringLike": {"sts:ExternalId": "byok-Aa?_right"}}, ID, True, OPERATORS),
    ("StringLike other prefix", {"StringLike": {"sts:ExternalId": "kore-*"}}, ID, False, OPERATORS),
    ("StringEquals takes a star literally", {"StringEquals": {"sts:ExternalId": "byok-*"}}, ID, False, OPERATORS),
    ("StringEqualsIfExists without an id", {"StringEqualsIfExists": {"sts:ExternalId": ID}}, None, True, OPERATORS),
    ("StringEqualsIfExists with a wrong one", {"StringEqualsIfExists": {"sts:ExternalId": ID}}, "zz", False, OPERATORS),
    ("StringEqualsIgnoreCase", {"StringEqualsIgnoreCase": {"sts:ExternalId": ID.upper()}}, ID, True, OPERATORS),
    ("StringNotEquals another", {"StringNotEquals": {"sts:ExternalId": "zz"}}, ID, True, OPERATORS),
    ("StringNotEquals without an id", {"StringNotEquals": {"sts:ExternalId": "zz"}}, None, True, OPERATORS),
    ("StringNotEquals itself", {"StringNotEquals": {"sts:ExternalId": ID}}, ID, False, OPERATORS),
    ("StringNotLike", {"StringNotLike": {"sts:ExternalId": "byok-*"}}, ID, False, OPERATORS),
    ("Null true with an id", {"Null": {"sts:ExternalId": "true"}}, ID, False, OPERATORS),
    ("Null true without an id", {"Null": {"sts:ExternalId": "true"}}, None, True, OPERATORS),
    ("Null false with any id", {"Null": {"sts:ExternalId": "false"}}, "zz", True, OPERATORS),
    ("ForAnyValue without an id", {"ForAnyValue:StringEquals": {"sts:ExternalId": ID}}, None, False, SETS),
    ("ForAnyValue with the id", {"ForAnyValue:StringEquals": {"sts:ExternalId": ID}}, ID, True, SETS),
    ("ForAllValues without an id", {"ForAllValues:StringEquals": {"sts:ExternalId": ID}}, None, True, SETS),
    ("ForAllValues with a wrong id", {"ForAllValues:StringEquals": {"sts:ExternalId": ID}}, "zz", False, SETS),
    (
        "two operators, both met",
        {"StringEquals": {"sts:ExternalId": ID}, "StringLike": {"sts:RoleSessionName": "con*"}},
        ID,
        True,
        OPERATORS,
    ),
    (
        "two operators, one met",
        {"StringEquals": {"sts:ExternalId": ID}, "StringLike": {"sts:RoleSessionName": "byok*"}},
        ID,
        False,
        OPERATORS,
    ),
    (
        "two keys of one operator, one met",
        {"StringEquals": {"sts:ExternalId": ID, "sts:RoleSessionName": "x"}},
        ID,
        False,
        OPERATORS,
    ),
    (
        "a key in other letters",
        {"StringEquals": {"STS:externalid": ID}},
        ID,
        True,
        IAM + "reference_policies_condition-keys.html",
    ),
    (
        "a multi-factor device",
        {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
        ID,
        False,
        IAM + "reference_policies_condition-keys.html",
    ),
    ("TLS", {"Bool": {"aws:SecureTransport": "true"}}, ID, True, IAM + "reference_policies_condition-keys.html"),
    ("an address of the documentation", {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, ID, False, OPERATORS),
    ("not an address of the documentation", {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, ID, True, OPERATORS),
    (
        "a VPC endpoint",
        {"StringEquals": {"aws:SourceVpce": "vpce-1"}},
        ID,
        False,
        IAM + "reference_policies_condition-keys.html",
    ),
    ("before 2020", {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, ID, False, OPERATORS),
    ("after 2020", {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01"}}, ID, True, OPERATORS),
    ("after 2020 in seconds", {"NumericGreaterThan": {"aws:EpochTime": "1577836800"}}, ID, True, OPERATORS),
    (
        "another organization",
        {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},
        ID,
        False,
        IAM + "reference_policies_condition-keys.html",
    ),
    (
        "the Region asked",
        {"StringEquals": {"aws:RequestedRegion": "eu-central-1"}},
        ID,
        True,
        IAM + "reference_policies_condition-keys.html",
    ),
]


def _condition_row(name: str, condition: dict[str, Any], sent: str | None, works: bool, page: str) -> None:
    def act(w: World) -> None:
        cross(w, trusting("OURS", **condition), **({"ExternalId": sent} if sent else {}))

    title = f"trust: {name}"
    if works:
        allowed(page, name=title)(act)
    else:
        refused(page, *DENIED, name=title)(act)


for _row in CONDITIONS:
    _condition_row(*_row)

# (name, statements of the trust policy, whether our session gets in)
PRINCIPALS: list[tuple[str, list[dict[str, Any]], bool]] = [
    ("our account by id", [trusting("999900001111")], True),
    ("our account by root", [trusting("arn:aws:iam::999900001111:root")], True),
    ("the session by its ARN", [trusting("OURS_SESSION")], True),
    ("everybody", [trusting("*")], True),
    ("everybody of AWS", [trusting({"AWS": "*"})], True),
    ("another account", [trusting("111122223333")], False),
    ("a service", [trusting({"Service": "ec2.amazonaws.com"})], False),
    ("two principals, one of them we", [trusting(["111122223333", "OURS"])], True),
    ("an allow and a deny for all", [trusting("OURS"), trusting("*", effect="Deny")], False),
    ("an allow and a deny for another account", [trusting("OURS"), trusting("111122223333", effect="Deny")], True),
    (
        "a deny without the id",
        [trusting("OURS"), trusting("*", effect="Deny", StringNotEquals={"sts:ExternalId": ID})],
        False,
    ),
    ("another action", [trusting("OURS", action="sts:TagSession")], False),
    ("all actions of STS", [trusting("OURS", action="sts:*")], True),
    ("the action in small letters", [trusting("OURS", action="sts:assumerole")], True),
    (
        "a deny for all but us, named whole",
        [
            trusting("OURS"),
            {
                "Effect": "Deny",
                "NotPrincipal": {"AWS": ["999900001111", "OURS", "OURS_SESSION"]},
                "Action": "sts:AssumeRole",
            },
        ],
        True,
    ),
    (
        "a deny for all but another account",
        [trusting("OURS"), {"Effect": "Deny", "NotPrincipal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}],
        False,
    ),
]


def _principal_row(name: str, statements: list[dict[str, Any]], works: bool) -> None:
    def act(w: World) -> None:
        text = json.dumps(statements).replace("999900001111", w.ours).replace("111122223333", w.theirs)
        cross(w, *json.loads(text))

    title = f"principal: {name}"
    if works:
        allowed(PRINCIPAL, name=title)(act)
    else:
        refused(PRINCIPAL, *DENIED, name=title)(act)


for _principal in PRINCIPALS:
    _principal_row(*_principal)


# --- both sides -------------------------------------------------------------------------------------------------------


def _other_side(w: World, *identity: dict[str, Any], boundary: str = "", policy_: str = "") -> None:
    """Our role has these permissions; theirs trusts it without conditions."""
    arn = w.role(w.ours, policy(trusting(w.ours)), *identity, boundary=boundary)
    session = w.session(w.ours, arn, **({"Policy": policy_} if policy_ else {}))
    role = w.role(w.theirs, policy(trusting(arn)))
    w.client(session, "sts").assume_role(RoleArn=role, RoleSessionName="conformance")


@refused(LOGIC, *DENIED)
def our_side_allows_nothing(w: World) -> None:
    _other_side(w)


@refused(LOGIC, *DENIED)
def our_side_allows_another_role(w: World) -> None:
    _other_side(w, allow("sts:AssumeRole", f"arn:aws:iam::{w.theirs}:role/another"))


@allowed(LOGIC)
def our_side_allows_all_roles_of_the_account(w: World) -> None:
    _other_side(w, allow("sts:AssumeRole", f"arn:aws:iam::{w.theirs}:role/*"))


@refused(SAME, *DENIED)
def our_side_denies(w: World) -> None:
    _other_side(w, EVERYTHING, deny("sts:AssumeRole"))


@refused(IAM + "access_policies_boundaries.html", *DENIED)
def our_boundary_leaves_it_out(w: World) -> None:
    _other_side(w, EVERYTHING, boundary=w.managed(w.ours, allow("kms:*")))


@refused(IAM + "access_policies.html#policies_session", *DENIED)
def our_session_policy_leaves_it_out(w: World) -> None:
    _other_side(w, EVERYTHING, policy_=policy(allow("kms:*")))


@allowed(IAM + "access_policies.html#policies_session")
def our_session_policy_has_it(w: World) -> None:
    _other_side(w, EVERYTHING, policy_=policy(allow("sts:AssumeRole")))


@refused(IAM + "reference_policies_elements_notaction.html", *DENIED)
def not_action_leaves_it_out(w: World) -> None:
    _other_side(w, {"Effect": "Allow", "NotAction": "sts:*", "Resource": "*"})


@refused(IAM + "reference_policies_elements_notresource.html", *DENIED)
def not_resource_leaves_it_out(w: World) -> None:
    _other_side(w, {"Effect": "Allow", "Action": "sts:*", "NotResource": f"arn:aws:iam::{w.theirs}:role/*"})


@allowed(ASSUME)
def managed_session_policies_have_it(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), EVERYTHING)
    session = w.session(
        w.ours, arn, Policy=policy(allow("kms:*")), PolicyArns=[{"arn": w.managed(w.ours, allow("sts:*"))}]
    )
    w.client(session, "sts").assume_role(RoleArn=w.role(w.theirs, policy(trusting(arn))), RoleSessionName="xx")


@refused(ASSUME, *DENIED)
def managed_session_policies_leave_it_out(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), EVERYTHING)
    session = w.session(w.ours, arn, PolicyArns=[{"arn": w.managed(w.ours, allow("kms:*"))}])
    w.client(session, "sts").assume_role(RoleArn=w.role(w.theirs, policy(trusting(arn))), RoleSessionName="xx")


@refused(ASSUME, "MalformedPolicyDocument", 400)
def a_managed_session_policy_that_there_is_not(w: World) -> None:
    arn = w.role(w.ours, policy(trusting(w.ours)), EVERYTHING)
    w.session(w.ours, arn, PolicyArns=[{"arn": f"arn:aws:iam::{w.ours}:policy/nothing"}])


ORGANIZATIONS = "https://docs.aws.amazon.com/organizations/latest/userguide/"


@refused(ORGANIZATIONS + "orgs_manage_policies_scps_evaluation.html", *DENIED, local=True)
def every_level_of_our_organization_has_to_allow(w: World) -> None:
    assert w.local
    full = {"Version": "2012-10-17", "Statement": [EVERYTHING]}
    some = {"Version": "2012-10-17", "Statement": [allow("kms:*"), allow("iam:*")]}
    arn = w.role(w.ours, policy(trusting(w.ours)), EVERYTHING)
    session, role = w.session(w.ours, arn), w.role(w.theirs, policy(trusting(arn)))
    w.local.organization(w.ours, scps=[[full], [some]])
    w.client(session, "sts").assume_role(RoleArn=role, RoleSessionName="xx")


@allowed(ORGANIZATIONS + "orgs_manage_policies_scps_evaluation.html", local=True)
def one_policy_of_a_level_is_enough(w: World) -> None:
    assert w.local
    full = {"Version": "2012-10-17", "Statement": [EVERYTHING]}
    some = {"Version": "2012-10-17", "Statement": [allow("kms:*")]}
    w.local.organization(w.ours, scps=[[full], [some, full]])
    _other_side(w, EVERYTHING)


@allowed(ORGANIZATIONS + "orgs_manage_policies_rcps.html", local=True)
def an_rcp_takes_away_only_what_it_denies(w: World) -> None:
    assert w.local
    other = {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    w.local.organization(w.theirs, rcps=[{"Version": "2012-10-17", "Statement": [other]}])
    _other_side(w, EVERYTHING)


@allowed(IAM + "reference_policies_condition-keys.html", local=True)
def our_organization_is_known(w: World) -> None:
    assert w.local
    w.local.organization(w.ours, name="o-kore123456")
    cross(w, trusting("*", StringEquals={"aws:PrincipalOrgID": "o-kore123456"}))


@refused(IAM + "reference_policies_condition-keys.html", *DENIED, local=True)
def another_organization_is_another(w: World) -> None:
    assert w.local
    w.local.organization(w.ours, name="o-kore123456")
    cross(w, trusting("*", StringEquals={"aws:PrincipalOrgID": "o-bank123456"}))


@refused(
    "https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_scps.html", *DENIED, local=True
)
def our_organization_denies(w: World) -> None:
    assert w.local
    w.local.organization(
        w.ours,
        scps=[
            {
                "Version": "2012-10-17",
                "Statement": [EVERYTHING, deny("sts:AssumeRole", f"arn:aws:iam::{w.theirs}:role/*")],
            }
        ],
    )
    _other_side(w, EVERYTHING)


@refused(
    "https://docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_rcps.html", *DENIED, local=True
)
def their_organization_denies_outsiders(w: World) -> None:
    assert w.local
    outside = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sts:AssumeRole",
        "Resource": "*",
        "Condition": {"StringNotEquals": {"aws:PrincipalAccount": w.theirs}},
    }
    full = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
    w.local.organization(w.theirs, rcps=[{"Version": "2012-10-17", "Statement": [full, outside]}])
    _other_side(w, EVERYTHING)


def _inside(w: World, trust: str, *identity: dict[str, Any]) -> None:
    """A role of theirs assumes another of theirs; `ME` is the first one's ARN."""
    arn, session = w.insider(*identity)
    role = w.role(w.theirs, trust.replace("ME", arn).replace("SESSION", _session_arn(arn)))
    w.client(session, "sts").assume_role(RoleArn=role, RoleSessionName="conformance")


@allowed(SAME)
def in_one_account_the_trust_policy_is_enough(w: World) -> None:
    _inside(w, policy(trusting("ME")))


@refused(SAME, "AccessDenied", 403, "because no identity-based policy allows the sts:AssumeRole action")
def in_one_account_trusting_the_account_is_not(w: World) -> None:
    _inside(w, policy(trusting(w.theirs)))


@refused(
    IAM + "troubleshoot_access-denied.html",
    "AccessDenied",
    403,
    "because no role trust policy allows the sts:AssumeRole action",
)
def in_one_account_the_trust_policy_is_named(w: World) -> None:
    _inside(w, policy(trusting(w.ours)), EVERYTHING)


@refused(
    IAM + "troubleshoot_access-denied.html", "AccessDenied", 403, "with an explicit deny in an identity-based policy"
)
def in_one_account_the_deny_is_named(w: World) -> None:
    _inside(w, policy(trusting("ME")), EVERYTHING, deny("sts:AssumeRole"))


@refused(IAM + "troubleshoot_access-denied.html", "AccessDenied", 403, "with an explicit deny in a role trust policy")
def in_one_account_the_deny_of_the_trust_policy_is_named(w: World) -> None:
    _inside(w, policy(trusting("ME"), trusting("*", effect="Deny")), EVERYTHING)


# --- which role -------------------------------------------------------------------------------------------------------


@refused(ASSUME, *DENIED)
def there_is_no_such_role(w: World) -> None:
    _, session = w.us()
    w.client(session, "sts").assume_role(RoleArn=f"arn:aws:iam::{w.theirs}:role/nobody", RoleSessionName="xx")


@refused(ASSUME, *DENIED)
def there_is_no_such_account(w: World) -> None:
    _, session = w.us()
    w.client(session, "sts").assume_role(RoleArn="arn:aws:iam::000000000000:role/nobody", RoleSessionName="xx")


@refused(IAM + "troubleshoot_roles.html", *DENIED)
def the_role_name_is_of_another_case(w: World) -> None:
    arn, session = w.us()
    role = w.role(w.theirs, policy(trusting(arn)))
    w.client(session, "sts").assume_role(RoleArn=role.replace("byok-role", "BYOK-role"), RoleSessionName="xx")


@refused(IAM + "reference_identifiers.html", *DENIED)
def the_path_is_left_out(w: World) -> None:
    arn, session = w.us()
    role = w.role(w.theirs, policy(trusting(arn)), Path="/kore/")
    w.client(session, "sts").assume_role(RoleArn=role.replace("/kore/", "/"), RoleSessionName="xx")


@allowed(IAM + "reference_identifiers.html")
def the_path_is_there(w: World) -> None:
    arn, session = w.us()
    w.session(session, w.role(w.theirs, policy(trusting(arn)), Path="/kore/ai/"))


@refused(PRINCIPAL, *DENIED)
def our_role_was_deleted_and_made_again(w: World) -> None:
    arn, _ = w.us()
    role, name = w.role(w.theirs, policy(trusting(arn))), arn.rpartition("/")[2]
    iam = w.client(w.ours, "iam")
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    w.role(w.ours, policy(trusting(w.ours)), allow("sts:*"), name=name)
    w.session(w.session(w.ours, arn), role)


@allowed(PRINCIPAL)
def a_deleted_principal_shows_as_its_unique_id(w: World) -> None:
    arn, _ = w.us()
    iam, name = w.client(w.ours, "iam"), arn.rpartition("/")[2]
    unique_id = iam.get_role(RoleName=name)["Role"]["RoleId"]
    role = w.role(w.theirs, policy(trusting(arn)))
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    w.settle()
    shown = w.client(w.theirs, "iam").get_role(RoleName=role.rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
    assert shown["Statement"][0]["Principal"]["AWS"] == unique_id
    assert unique_id.startswith("AROA")


@refused(IAM + "id_roles_manage_delete.html", "AccessDenied", 403)
def a_session_of_a_deleted_role_may_do_nothing(w: World) -> None:
    arn, session = w.insider(allow("iam:ListRoles"))
    w.client(session, "iam").list_roles(MaxItems=1)
    iam = w.client(w.theirs, "iam")
    iam.delete_role_policy(RoleName=arn.rpartition("/")[2], PolicyName="p")
    iam.delete_role(RoleName=arn.rpartition("/")[2])
    w.settle()
    w.client(session, "iam").list_roles(MaxItems=1)


# --- durations, names, parameters -------------------------------------------------------------------------------------


def _plain(w: World, **options: Any) -> Any:
    """Their administrator assumes a role of theirs."""
    role = w.role(w.theirs, policy(trusting(w.theirs)), **options.pop("role", {}))
    options = {"RoleSessionName": "conformance", **options}
    return w.client(w.theirs, "sts").assume_role(**{"RoleArn": role, **options})


@allowed(ASSUME)
def an_hour_unless_asked_otherwise(w: World) -> None:
    answer = _plain(w)
    seconds = (answer["Credentials"]["Expiration"] - _now(answer)).total_seconds()
    assert 3_590 <= seconds <= 3_600
    assert answer["AssumedRoleUser"]["Arn"].endswith("/conformance")
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")


def _now(answer: Any) -> Any:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


@allowed(ASSUME)
def fifteen_minutes_is_the_least(w: World) -> None:
    _plain(w, DurationSeconds=900)


@refused(
    ASSUME,
    "ValidationError",
    400,
    "at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900",
)
def less_than_fifteen_minutes(w: World) -> None:
    _plain(w, DurationSeconds=899)


@refused(
    ASSUME,
    "ValidationError",
    400,
    "at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200",
)
def more_than_twelve_hours(w: World) -> None:
    _plain(w, DurationSeconds=43_201)


@refused(
    ASSUME,
    "ValidationError",
    400,
    message="The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
)
def longer_than_the_role_allows(w: World) -> None:
    _plain(w, DurationSeconds=3_601)


@allowed(ASSUME)
def as_long_as_the_role_allows(w: World) -> None:
    _plain(w, DurationSeconds=7_200, role={"MaxSessionDuration": 7_200})


@refused(TERMS, "ValidationError", 400, "exceeds the 1 hour session limit for roles assumed by role chaining")
def chaining_for_more_than_an_hour(w: World) -> None:
    arn, session = w.us()
    role = w.role(w.theirs, policy(trusting(arn)), MaxSessionDuration=43_200)
    w.session(session, role, DurationSeconds=3_601)


@allowed(TERMS)
def chaining_for_an_hour(w: World) -> None:
    arn, session = w.us()
    w.session(session, w.role(w.theirs, policy(trusting(arn))), DurationSeconds=3_600)


# (name, parameters, words)
PARAMETERS: list[tuple[str, dict[str, Any], str]] = [
    (
        "session name of one character",
        {"RoleSessionName": "a"},
        "at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2",
    ),
    (
        "session name of 65 characters",
        {"RoleSessionName": "a" * 65},
        "at 'roleSessionName' failed to satisfy constraint: Member must have length less than or equal to 64",
    ),
    (
        "session name with a space",
        {"RoleSessionName": "a b"},
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
    ),
    (
        "session name of other letters",
        {"RoleSessionName": "größe"},
        r"Member must satisfy regular expression pattern: [\w+=,.@-]*",
    ),
    (
        "External ID of one character",
        {"ExternalId": "a"},
        "at 'externalId' failed to satisfy constraint: Member must have length greater than or equal to 2",
    ),
    (
        "External ID of 1,225 characters",
        {"ExternalId": "a" * 1_225},
        "at 'externalId' failed to satisfy constraint: Member must have length less than or equal to 1224",
    ),
    (
        "External ID with a space",
        {"ExternalId": "a b"},
        r"Member must satisfy regular expression pattern: [\w+=,.@:\/-]*",
    ),
    (
        "role ARN too short",
        {"RoleArn": "arn"},
        "at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20",
    ),
    ("role ARN that is none", {"RoleArn": "nothing-valid-in-here"}, "nothing-valid-in-here is invalid"),
    (
        "ARN of a user",
        {"RoleArn": "arn:aws:iam::111122223333:user/somebody"},
        "arn:aws:iam::111122223333:user/somebody is invalid",
    ),
]


def _parameter_row(name: str, parameters: dict[str, Any], words: str) -> None:
    @refused(ASSUME, "ValidationError", 400, words, name=f"parameter: {name}")
    def act(w: World) -> None:
        _plain(w, **parameters)


for _parameter in PARAMETERS:
    _parameter_row(*_parameter)


@allowed(ASSUME)
def an_external_id_of_1224_characters(w: World) -> None:
    _plain(w, ExternalId="a:/=+,.@-_" * 122 + "abcd")


@refused(ASSUME, "MalformedPolicyDocument", 400)
def a_session_policy_that_is_none(w: World) -> None:
    _plain(w, Policy="{")


@refused(ASSUME, "PackedPolicyTooLarge", 400, local=True)
def a_session_policy_of_more_than_2048_characters(w: World) -> None:
    _plain(
        w,
        Policy=policy(allow("kms:Decrypt", [f"arn:aws:kms:eu-central-1:111122223333:key/{n:036}" for n in range(30)])),
    )


@refused(IAM + "id_session-tags.html", "AccessDenied", 403, "is not authorized to perform: sts:TagSession")
def tags_need_a_permission_of_their_own(w: World) -> None:
    cross(w, trusting("OURS"), Tags=[{"Key": "team", "Value": "kore"}])


@allowed(IAM + "id_session-tags.html")
def tags_with_their_permission(w: World) -> None:
    cross(
        w,
        trusting("OURS", action=["sts:AssumeRole", "sts:TagSession"], StringEquals={"aws:RequestTag/team": "kore"}),
        Tags=[{"Key": "team", "Value": "kore"}],
    )


@refused(
    IAM + "id_credentials_temp_control-access_monitor.html",
    "AccessDenied",
    403,
    "is not authorized to perform: sts:SetSourceIdentity",
)
def a_source_identity_needs_a_permission_of_its_own(w: World) -> None:
    cross(w, trusting("OURS"), SourceIdentity="somebody")


@allowed(IAM + "id_credentials_temp_control-access_monitor.html")
def a_source_identity_with_its_permission(w: World) -> None:
    cross(w, trusting("OURS", action=["sts:AssumeRole", "sts:SetSourceIdentity"]), SourceIdentity="somebody")


# --- who we are -------------------------------------------------------------------------------------------------------


@allowed(STS_API + "API_GetCallerIdentity.html")
def nobody_can_be_denied_to_ask_who_it_is(w: World) -> None:
    arn, session = w.insider(deny("*"))
    answer = w.client(session, "sts").get_caller_identity()
    assert answer["Arn"] == _session_arn(arn)
    assert answer["Account"] == w.theirs
    assert answer["UserId"].startswith("AROA")
    assert answer["UserId"].endswith(":conformance")


@refused(ASSUME, "AccessDenied", 403, message="Roles may not be assumed by root accounts.", local=True)
def the_root_user_assumes_no_role(w: World) -> None:
    assert w.local
    keys = w.local.accounts[w.theirs]
    root = {"AccessKeyId": keys["root_access_key_id"], "SecretAccessKey": keys["root_secret_access_key"]}
    w.session(root, w.role(w.theirs, policy(trusting(w.theirs))))


@allowed(STS_API + "welcome.html")
def every_region_has_its_sts(w: World) -> None:
    arn, session = w.us()
    role = w.role(w.theirs, policy(trusting(arn)))
    w.client(session, "sts", ELSEWHERE).assume_role(RoleArn=role, RoleSessionName="xx")


@refused(STS_API + "CommonErrors.html", "InvalidAction", 400, local=True)
def an_action_that_there_is_not(w: World) -> None:
    w.client(w.theirs, "sts").get_access_key_info(AccessKeyId="AKIAIOSFODNN7EXAMPLE")
