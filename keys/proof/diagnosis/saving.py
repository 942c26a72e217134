"""What AWS does not save: a policy that it cannot read, one that is too long, one resource too many; pure.

The sentences are IAM's and KMS's, as people quote them (tests/cases/aws_words*.jsonl name where) and as AWS's pages
list them: IAM guide, "IAM and AWS STS quotas" and "IAM JSON policy elements"; KMS API reference, PutKeyPolicy and
LimitExceededException; KMS guide, "Resource quotas". A sentence says what is wrong; the operation, the name of the
exception, the words of Terraform and CloudFormation, or else the sentence itself say of which document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from byokportal.translation import lazy
from byokportal.translation import translate as _
from keys.proof.diagnosis.error_grammar import AwsError

TRUST, PERMISSIONS, KEY = "trust", "permissions", "key"
MALFORMED = {
    TRUST: ("trust_policy_malformed",),
    PERMISSIONS: ("permissions_policy_malformed",),
    KEY: ("key_policy_malformed",),
    "": ("permissions_policy_malformed", "trust_policy_malformed"),
}
INVALID_PRINCIPAL = {
    TRUST: ("trust_policy_invalid_principal", "propagation_delay"),
    KEY: ("key_policy_invalid_principal", "propagation_delay"),
}
TOO_LARGE = {
    TRUST: ("trust_policy_too_large",),
    PERMISSIONS: ("permissions_policy_too_large",),
    KEY: ("key_policy_too_large",),
    "": ("permissions_policy_too_large", "trust_policy_too_large"),
}
IAM_QUOTA, KMS_QUOTA = ("iam_quota_reached",), ("kms_quota_reached",)

# --- of which document ----------------------------------------------------------------------------------------------

OPERATIONS = {
    "createrole": TRUST,
    "updateassumerolepolicy": TRUST,
    "putrolepolicy": PERMISSIONS,
    "putuserpolicy": PERMISSIONS,
    "putgrouppolicy": PERMISSIONS,
    "createpolicy": PERMISSIONS,
    "createpolicyversion": PERMISSIONS,
    "createkey": KEY,
    "putkeypolicy": KEY,
    "replicatekey": KEY,
}
# How Terraform, kops and CloudFormation name what they were about to save; the first that is found decides.
MAKING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"assume ?role ?policy|trust (?:policy|relationship)|assumerolepolicydocument"), TRUST),
    (
        re.compile(
            r"iam ?(?:role|user|group) ?policy|aws_iam_(?:role_|user_|group_)?policy|iam policy"
            r"|aws::iam::\w{0,10}policy|inline policy|managed policy"
        ),
        PERMISSIONS,
    ),
    (re.compile(r"(?:creating|updating|putting) iam role\b|aws_iam_role\b|failed to create role"), TRUST),
    (
        re.compile(
            r"kms key|aws_kms_key|aws::kms::|key policy|service: ?\"?(?:aws)?kms|put-?key-?policy|create-?key\b"
            r"|put key policy"
        ),
        KEY,
    ),
)

# --- what is wrong with it ------------------------------------------------------------------------------------------

SYNTAX = lazy(
    "it is not one whole policy in JSON (with the AWS CLI, file:// has to stand before the name "
    "of the file, and Version before Statement)"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One sentence of AWS: the document that only it can be about ("" where it does not say), and what is wrong."""

    pattern: re.Pattern[str]
    document: str
    words: str
    is_principal: bool = False


def _fault(pattern: str, document: str, words: str, *, is_principal: bool = False) -> Fault:
    return Fault(re.compile(pattern), document, words, is_principal)


# The first that is found decides. Searched in small letters with single blanks.
FAULTS = (
    _fault(
        r"prohibited field (?:not)?resource|assumerole ?policy must not contain resources",
        TRUST,
        lazy("a trust policy has no Resource. Perhaps the permissions policy was given in its place"),
    ),
    _fault(
        r"prohibited field (?:not)?principal|(?:should|must) not (?:contain|specify|have) a ?principal",
        PERMISSIONS,
        lazy("a permissions policy names no Principal. Perhaps the trust policy was given in its place"),
    ),
    _fault(
        r"may only specify sts assumerole actions|trust policy statement actions can only be",
        TRUST,
        lazy("its only action is sts:AssumeRole. Perhaps the permissions policy was given in its place"),
    ),
    _fault(
        r"one or more invalid principals",
        KEY,
        lazy("it names a principal that AWS does not know"),
        is_principal=True,
    ),
    _fault(
        r"invalid principal|federated principals must|principal must be a json object"
        r"|must not contain notprincipal|notprincipal is not allowed",
        TRUST,
        lazy("it names a principal that AWS does not know"),
        is_principal=True,
    ),
    _fault(
        r"statement with no principal|missing required field principal|principal cannot be empty",
        "",
        lazy("a statement names no Principal, such as the ARN of a role"),
    ),
    _fault(
        r"must contain resources|missing required field resource",
        PERMISSIONS,
        lazy("a statement has no Resource; it has to name the ARN of your key"),
    ),
    _fault(
        r"must be in arn format|iam resource .{0,300}(?:cannot|can not) contain|resource path must|resource vendor must"
        r"|vendor .{0,80} is not valid|(?:region|account) .{0,80}not valid for resource"
        r"|cannot contain region information"
        r"|arn .{0,300} must be|invalid resource|resource .{0,300}is (?:not valid|invalid)|has invalid resource",
        PERMISSIONS,
        lazy("a Resource is no whole ARN: an empty value, a bare name or a placeholder stands in its place"),
    ),
    _fault(
        r"partition .{0,80}is not valid",
        PERMISSIONS,
        lazy("the partition of an ARN (arn:aws:…) is none: a placeholder was not filled in"),
    ),
    _fault(
        r"must contain actions|missing required field action|actions?/conditions?\b|prefaced by a vendor"
        r"|action vendors|(?:has|contains) (?:an )?invalid actions?|invalid action\b"
        r"|action .{0,80}is (?:not valid|invalid)",
        "",
        lazy("an action is none: each reads service:Name, such as kms:Decrypt"),
    ),
    _fault(
        r"statement ids?\b.{0,60}(?:unique)|duplicate (?:statement id|sid)",
        "",
        lazy("two statements have the same Sid"),
    ),
    _fault(
        r"statement ids?\b.{0,60}alpha-?numeric|\bsid\b.{0,80}(?:alpha-?numeric|invalid|not valid)",
        "",
        lazy("a Sid holds another character than letters and digits"),
    ),
    _fault(
        r"condition(?: operator| key| block|s)?\b.{0,120}(?:invalid|not valid|unknown|unsupported|must|empty)"
        r"|(?:invalid|unknown) condition",
        "",
        lazy("a condition is none: its operator, key or value is not what IAM knows"),
    ),
    _fault(
        r"(?:missing required field|invalid) effect|invalid effect",
        "",
        lazy("each statement has the Effect Allow or Deny"),
    ),
    _fault(
        r"(?:unknown|unsupported|invalid) (?:field|element)|prohibited field",
        "",
        lazy("it has an element or field that the grammar of policies does not know, such as a comment"),
    ),
    _fault(
        r"syntax errors?\b|invalid json|legacy parsing|could not parse|valid json|valid version|statement is empty"
        r"|unsupported (?:policy )?version|not syntactically|must be version|policy document is (?:invalid|malformed)"
        r"|invalid policy syntax",
        "",
        SYNTAX,
    ),
)
OF_IAM = re.compile(r"service: ?\"?(?:amazonidentitymanagement|iam)\b", re.IGNORECASE)
PARTITION = re.compile(r"partition \"?'?aws[a-z-]{0,12}['\" ]")
LOCKOUT = re.compile(r"new key policy will not allow you to update|lockout safety")
CONSOLE = "policy contains the following error"
CODE, FOREIGN = "malformedpolicydocument", "malformedpolicy"

# --- what there is too much of --------------------------------------------------------------------------------------

QUOTA = re.compile(r"cannot exceed (?:the )?quota for (\w{3,60})(?:: ?(\d{1,9}))?", re.IGNORECASE)
TRUST_SIZE = "aclsizeperrole"
POLICY_SIZES = {"policysize"}
INLINE = re.compile(r"(?:maximum policy size of|policy (?:size )?cannot exceed) ([\d,]{2,9}) ?(?:bytes|characters)")
VERSIONS = re.compile(r"can have up to (\d{1,3}) versions")
KMS_ACCOUNT = re.compile(
    r"\b(aliases per key|keys? quota|key quota|aliases quota|alias quota|grants? (?:per|quota)[a-z ]{0,20}?|quota)\b"
    r".{0,40}for this account in this region is (\d{1,9})"
)
LENGTH = re.compile(
    r"'?(?:policy|policydocument|assumerolepolicydocument)'? ?.{0,60}length less than or equal to ([\d,]{1,9})"
)
LONG = re.compile(
    r"policy (?:document |size )?(?:is |was )?(?:too (?:long|large|big)|exceeds|larger than|longer than)"
    r"(?: [a-z ]{0,40}?([\d,]{3,9}))?"
)
LIMIT_CODES = {"limitexceeded", "servicelimitexceeded", "quotaexceeded", "servicequotaexceeded"}
RATE = re.compile(r"rate exceeded|throttl|too many requests|exceeded the rate")
UNSAID = lazy("AWS does not say which")
TOO_MANY = {
    "createkey": lazy("too many keys in this Region, or too long a key policy"),
    "replicatekey": lazy("too many keys in this Region"),
    "createalias": lazy("too many aliases"),
    "updatealias": lazy("too many aliases"),
    "creategrant": lazy("too many grants on the key"),
    "tagresource": lazy("too many tags on the key"),
    "rotatekeyondemand": lazy("too many rotations on demand"),
    "enablekey": lazy("too many keys in this Region"),
    "createcustomkeystore": lazy("too many key stores"),
}


@dataclass(frozen=True, slots=True)
class Unsaved:
    """What AWS did not save: the causes, and what is wrong with the document or how much is too much."""

    causes: tuple[str, ...]
    fault: str = ""


NOTHING = Unsaved(())


def of(error: AwsError) -> Unsaved | None:
    """Return what AWS did not save; None when the error is about something else.

    An `Unsaved` without causes is about a document that is none of ours, such as the policy of a bucket.
    """
    text = error.words.lower()
    return _too_much(error, text) or _malformed(error, text)


def fault_of(error: AwsError) -> str:
    """Return what is wrong with the document, the end of a sentence."""
    found = of(error)
    return (found.fault if found else "") or _("AWS says what is wrong with it")


# --- malformed ------------------------------------------------------------------------------------------------------


def _malformed(error: AwsError, text: str) -> Unsaved | None:
    codes = set(error.bare_codes)
    if FOREIGN in codes and CODE not in codes:
        return NOTHING
    is_named = CODE in codes or CONSOLE in text
    if error.service == "sts" or not (is_named or "polic" in text or "principal" in text or "prohibited" in text):
        return None
    if LOCKOUT.search(text):
        return Unsaved(("key_policy_lockout_check",))
    fault = next((fault for fault in FAULTS if fault.pattern.search(text)), None)
    if not is_named and (fault is None or not (fault.document or _document(error, text) or _is_of_iam(error))):
        return None
    document = _document(error, text) or (fault.document if fault else "")
    if fault and fault.is_principal and document in INVALID_PRINCIPAL:
        return Unsaved(INVALID_PRINCIPAL[document], _(fault.words))
    if PARTITION.search(text) and "is not valid" in text:
        return Unsaved(("wrong_partition",))
    if document == KEY and fault is None:
        return Unsaved((*MALFORMED[KEY], "key_policy_invalid_principal", "key_policy_lockout_check"), _(SYNTAX))
    return Unsaved(MALFORMED[document], _(fault.words if fault else SYNTAX))


def _is_of_iam(error: AwsError) -> bool:
    return error.service == "iam" or bool(OF_IAM.search(error.words))


def _document(error: AwsError, text: str) -> str:
    service, _, operation = error.operation.lower().partition(":")
    if operation in OPERATIONS:
        return OPERATIONS[operation]
    if service == "kms":
        return KEY
    # IAM's code is without the suffix; its class in an SDK and KMS's code are with it.
    spelled = {code.rpartition("#")[2].rpartition(".")[2] for code in error.codes if CODE in code.lower()}
    found = next((document for pattern, document in MAKING if pattern.search(text)), "")
    if found or _is_of_iam(error):
        return found
    return KEY if spelled == {"MalformedPolicyDocumentException"} else ""


# --- too much -------------------------------------------------------------------------------------------------------


def _too_much(error: AwsError, text: str) -> Unsaved | None:
    if found := QUOTA.search(error.words):
        name, number = found[1], f"{int(found[2]):,}" if found[2] else ""
        if name.lower() == TRUST_SIZE:
            most = number or "2,048"
            return Unsaved(TOO_LARGE[TRUST], _("AWS takes %(most)s characters at most, blanks not counted", most=most))
        if name.lower() in POLICY_SIZES:
            most = number or "6,144"
            return Unsaved(TOO_LARGE[PERMISSIONS], _("AWS takes %(most)s characters at most in one policy", most=most))
        return Unsaved(IAM_QUOTA, _("%(name)s, at most %(number)s", name=name, number=number) if number else name)
    if found := INLINE.search(text):
        number = f"{int(found[1].replace(',', '') or 0):,}"
        if "trust policy" in text:
            return Unsaved(
                TOO_LARGE[TRUST], _("AWS takes %(number)s characters at most, blanks not counted", number=number)
            )
        return Unsaved(
            TOO_LARGE[PERMISSIONS],
            _("AWS takes %(number)s characters at most in all inline policies together", number=number),
        )
    if found := VERSIONS.search(text):
        return Unsaved(
            IAM_QUOTA, _("%(number)s versions of one policy; delete one that is not the default", number=found[1])
        )
    if found := KMS_ACCOUNT.search(text):
        return Unsaved(KMS_QUOTA, _("%(name)s: %(number)s in this Region", name=found[1], number=found[2]))
    if (found := LENGTH.search(text)) and (document := _document(error, text)):
        return Unsaved(TOO_LARGE[document], _("AWS takes %(number)s characters at most", number=found[1]))
    if (found := LONG.search(text)) and error.service != "sts" and (document := _document(error, text)):
        return Unsaved(
            TOO_LARGE[document],
            _("AWS takes %(number)s bytes at most", number=found[1]) if found[1] else _("AWS takes less"),
        )
    if LIMIT_CODES.isdisjoint(error.bare_codes) or RATE.search(text):
        return None
    return _by_operation(error, text)


def _by_operation(error: AwsError, text: str) -> Unsaved | None:
    """Return what a quota without a sentence of its own is about."""
    service, _colon, operation = error.operation.lower().partition(":")
    if operation == "putkeypolicy":
        return Unsaved(TOO_LARGE[KEY], _("AWS KMS takes 32 kilobytes at most"))
    if operation in TOO_MANY or service == "kms":
        also = TOO_LARGE[KEY] if operation == "createkey" else ()
        return Unsaved((*KMS_QUOTA, *also), _(TOO_MANY.get(operation, UNSAID)))
    if operation in OPERATIONS or service == "iam":
        also = TOO_LARGE[OPERATIONS[operation]] if operation in OPERATIONS else ()
        return Unsaved((*also, *IAM_QUOTA), _(UNSAID))
    return Unsaved((*IAM_QUOTA, *KMS_QUOTA), _(UNSAID))
