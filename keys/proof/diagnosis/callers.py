"""Who was refused: the role that the tenant made for us, or somebody else, whose permissions are for the tenant's
administrator to change; pure.

The role for us needs the five patterns of the guide and never gets another action: with `kms:PutKeyPolicy` it could
rewrite the policy of the key. So a refusal of another action is the caller's own, whoever that is, and never a reason
to change the role.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys import arns
from keys.policies import documents
from keys.proof.diagnosis.aws_operations import KMS_OPERATIONS
from keys.proof.diagnosis.error_grammar import AwsError

NOT_ALLOWED = "caller_not_allowed"
PATTERNS = tuple(pattern.lower() for pattern in documents.ACTIONS)
# How our sessions in a tenant's role are named (`keys.aws.sessions.session_name`).
OUR_SESSIONS = "byok-"
# Roles that AWS makes: nobody but AWS can let us become them (IAM guide, "Service-linked roles"; IAM Identity Center
# guide, "Permission sets").
RESERVED = ("AWSReservedSSO_", "AWSServiceRoleFor")
# How tools name their sessions: CloudFormation, GitHub Actions, an instance of EC2, the SDKs by default, Terraform's
# runs, CodeBuild.
TOOLS = re.compile(
    r"AWSCloudFormation|GitHubActions|i-[0-9a-f]{8,17}"
    r"|(?:botocore-session|aws-go-sdk|aws-sdk-js-session|terraform-run|AWSCodeBuild)-.{1,60}"
)
# A person's session bears the mail address.
PERSON = re.compile(r"[^@\s]{1,64}@[^@\s]{1,64}")
PEOPLE = {"user", "federated-user", "root"}
# What a person calls who makes the key, the role and the policies, by hand or by CloudFormation.
SETTING_UP = {"cloudformation", "organizations", "sso"}
BECOMING = {"assumerole", "tagsession", "setsourceidentity", "assumerolewithwebidentity", "assumerolewithsaml"}
# The kinds of policy that stand on the side of the caller.
OF_THE_CALLER = {"identity", "boundary", "session", "endpoint"}
# Another service used the key for the tenant, not we: EC2, Auto Scaling, RDS, DynamoDB.
IN_ANOTHER_SERVICE = re.compile(
    r"inaccessible (?:aws )?kms (?:master )?key|encrypted volume was unable to access|customerkeyhasbeenrevoked"
    r"|kms key provided is in an incorrect state|invalidkmskey\.invalidstate|client error on launch"
    r"|inaccessible-?encryption-?credentials|kms key .{0,80}can(?:'t|not) be accessed"
    r"|secrets manager can(?:'t|not) (?:en|de)crypt|\b(?:en|de)cryptionfailure"
    r"|does not have access to your .{0,80}encrypted with|must have access to your encryption key",
    re.IGNORECASE,
)
# CloudWatch Logs, SNS, DMS: absent or not allowed to that service, in one sentence.
ABSENT_OR_REFUSED = re.compile(
    r"key does not exist or is not (?:allowed|authorized)|references a key that (?:doesn't|does not) exist or",
    re.IGNORECASE,
)
# The code of EC2, which hides what it refused in an encoded message.
ENCODED = "unauthorizedoperation"
NAME = re.compile(r"[\w+=,.@/-]{1,130}", re.ASCII)


class Who(StrEnum):
    """Who was refused, as far as the words tell."""

    OURS = "ours"
    # a user, an account's root, a role of AWS's own, a tool's or a person's session: never the role made for us
    SOMEBODY_ELSE = "somebody_else"
    # a role, in a session that we did not open
    UNSURE = "unsure"
    UNNAMED = "unnamed"


def who(error: AwsError) -> Who:
    """Return who was refused."""
    kind, name, session = _parts(error.principal)
    if kind in PEOPLE or name.startswith(RESERVED):
        return Who.SOMEBODY_ELSE
    if kind not in {"assumed-role", "role"}:
        return Who.UNNAMED
    if session.startswith(OUR_SESSIONS) or name == documents.ROLE_NAME:
        return Who.OURS
    # Our own service may call STS from an instance, or under a name that an SDK chose.
    is_tool = error.service != "sts" and TOOLS.fullmatch(session)
    return Who.SOMEBODY_ELSE if is_tool or PERSON.fullmatch(session) else Who.UNSURE


def name_of(error: AwsError) -> str:
    """Return how the caller is named in a sentence, "" where it is not; only what AWS takes in a name is repeated."""
    kind, name, _session = _parts(error.principal)
    if kind == "root":
        return _("the root user")
    if name and NAME.fullmatch(name):
        return f"{'role' if kind == 'assumed-role' else kind}/{name}"
    return ""


def _parts(principal: str) -> tuple[str, str, str]:
    """Return kind, name with its path, and session of an ARN, whose account may be blacked out."""
    found = arns.parts(principal.strip("\"'`"))
    if found is None or found.prefix != "arn" or found.service not in {"iam", "sts"}:
        return "", "", ""
    kind, _, name = found.resource.partition("/")
    if kind == "assumed-role":
        return kind, *_split(name)
    return kind, name, ""


def _split(name: str) -> tuple[str, str]:
    role, _, session = name.partition("/")
    return role, session


def is_needed(error: AwsError) -> bool:
    """Say whether the action that was refused is one that the role for us needs."""
    action = error.operation.lower()
    return any(fnmatchcase(action, pattern) for pattern in PATTERNS)


def is_of_the_caller(error: AwsError) -> bool:
    """Say whether an advice about the refusal has to speak of the caller, not of the role for us."""
    if IN_ANOTHER_SERVICE.search(error.words) or ABSENT_OR_REFUSED.search(error.words):
        return True
    if not error.is_refusal and not _is_setting_up(error):
        return False
    if error.service == "sts":
        return False
    if is_needed(error) or not error.service:
        return who(error) is Who.SOMEBODY_ELSE
    return bool(error.action) or _is_setting_up(error)


def _is_setting_up(error: AwsError) -> bool:
    """Say whether the action is one of those who make the key, the role and the policies."""
    service, _, name = error.operation.partition(":")
    if service == "kms":
        is_known = bool(error.action) or name in KMS_OPERATIONS
        return is_known and not is_needed(error)
    if service == "sts":
        return bool(error.action) and name.lower() not in BECOMING
    return service == "iam" or (service in SETTING_UP and bool(error.action))


def causes_of(error: AwsError, otherwise: Sequence[str]) -> tuple[str, ...]:
    """Return the causes of a refusal by who was refused.

    Args:
        otherwise: the causes if it had been the role for us, or our service role.
    """
    action = error.operation.lower()
    layer, caller = error.denial.layer, who(error)
    if layer in {"scp", "rcp"} and (caller is Who.SOMEBODY_ELSE or _is_setting_up(error)):
        return ("customer_scp_deny",) if layer == "scp" else ("customer_rcp_deny",)
    if action == "kms:creategrant" and layer not in OF_THE_CALLER:
        # AWS's own keys refuse it across accounts, whoever asks.
        return (NOT_ALLOWED, *otherwise)
    if _is_setting_up(error):
        # Across accounts KMS does not say whether there is such a key.
        return (NOT_ALLOWED, "key_not_found", "key_wrong_region") if error.denial.is_hidden else (NOT_ALLOWED,)
    if is_needed(error):
        return _of_use(error, otherwise)
    if ENCODED in error.bare_codes and not error.action and error.service not in {"kms", "sts"}:
        return (NOT_ALLOWED,)
    if error.service == "sts":
        is_theirs = caller is Who.SOMEBODY_ELSE and layer in OF_THE_CALLER
        return (NOT_ALLOWED,) if is_theirs else tuple(otherwise)
    # Another service: we call none, so whoever was refused is not us.
    if error.action and layer not in {"session", "endpoint", "resource", "scp", "rcp"}:
        return (NOT_ALLOWED, *otherwise)
    return tuple(otherwise)


def _of_use(error: AwsError, otherwise: Sequence[str]) -> tuple[str, ...]:
    """Return the causes where the key was to be used: a person's refusal says nothing of the role for us."""
    layer, caller = error.denial.layer, who(error)
    if caller is Who.SOMEBODY_ELSE and layer not in {"session", "endpoint"}:
        return (NOT_ALLOWED, *otherwise)
    if caller in {Who.SOMEBODY_ELSE, Who.UNSURE} and layer in {"session", "endpoint"}:
        return (NOT_ALLOWED,)
    return tuple(otherwise)


# --- the words -----------------------------------------------------------------------------------------------------

WHERE = {
    ("identity", False): lazy(
        "allow it in the identity-based policies of that caller; where they allow it already, "
        "a condition of theirs is not met"
    ),
    ("identity", True): lazy("take that caller out of the Deny in its identity-based policies"),
    ("boundary", False): lazy("let the permissions boundary of that caller allow it"),
    ("boundary", True): lazy("take it out of the Deny in the permissions boundary of that caller"),
    ("session", False): lazy("let the session policy that the caller was given allow it"),
    ("session", True): lazy("take it out of the Deny in the session policy that the caller was given"),
    ("endpoint", False): lazy("let the policy of the VPC endpoint that the call went through allow it"),
    ("endpoint", True): lazy("spare that caller in the Deny of the VPC endpoint that the call went through"),
    ("resource", False): lazy("allow it to that caller in the key policy, as to the other administrators of the key"),
    ("resource", True): lazy("spare that caller in the Deny of the key policy"),
    ("", True): lazy(
        "find the Deny that covers it: in that caller's own policies, in its permissions boundary or in a service "
        "control policy"
    ),
}
ANYWHERE = lazy("allow it to that caller in its own policies; on a key, the key policy has to let it too")


def phrase(error: AwsError) -> str:
    """Return the caller as the beginning of a sentence."""
    name = name_of(error)
    return _("The caller in this message (%(name)s)", name=name) if name else _("The caller in this message")


def where(error: AwsError) -> str:
    """Return what the administrator has to do, the end of "ask your administrator to …"."""
    if who(error) is Who.OURS and not is_needed(error):
        return _("find out who used the role that you made for us for this: we never call it")
    if ENCODED in error.bare_codes and not error.action:
        return _("decode the message (aws sts decode-authorization-message) and to allow the caller what it names")
    return _(WHERE.get((error.denial.layer, error.denial.is_explicit), ANYWHERE))


def beside(error: AwsError) -> str:
    """Return what the refusal says of the role for us, a sentence."""
    if is_needed(error):
        return _("It says nothing of the role that you made for us: the encryption test shows how that one fares.")
    return _("The role that you made for us does not need it, and must not get it.")


def remark(error: AwsError) -> str:
    """Return what has to be known of the caller before the advice is followed; "" when there is nothing."""
    caller = who(error)
    if error.operation.lower() == "sts:assumerole" and caller is Who.SOMEBODY_ELSE:
        return (
            f"Refused was {name_of(error) or 'somebody'}, which is not our service role: "
            "where the trust policy is right, AWS refuses everybody else (step 4), "
            "so this alone does not show a mistake."
        )
    if caller is Who.UNSURE and is_needed(error):
        return (
            f"Refused was {name_of(error) or 'a role'}, in a session that is none of ours "
            f"(they begin with {OUR_SESSIONS}): "
            "if that is not the role whose ARN you gave us, the change belongs to that role's own policies."
        )
    return ""
