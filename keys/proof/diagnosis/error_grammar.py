"""The grammar of AWS's errors: any SDK's wrapping → codes, operation, principal, action,
resource and the policy that decided; pure.

Every text is hostile: blanks are folded first and each pattern is bounded,
so that reading takes time linear in its length.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field

from keys.proof.diagnosis.aws_operations import SERVICES, STS_OPERATIONS

# --- the tail: which kind of policy decided ------------------------------------------------------------------

POLICY = r"([\w -]{0,60}?(?:policy|policies|boundary))"
NO_ALLOW = re.compile(rf"(?:because|context:) no {POLICY}", re.IGNORECASE)
EXPLICIT = re.compile(
    (
        rf"explicit deny(?: in (?:an? |the )?{POLICY}(?: transitively through (?:an? )?{POLICY})?(?:: "
        rf"?(arn:[^\s\"]{{1,600}}))?)?"
    ),
    re.IGNORECASE,
)
# The AWS console says the same in its own order: who, action, resource, "Context: no … policy allows".
CONSOLE = re.compile(
    r"user: ?(\S{1,300}?) ?(?:service: ?([\w-]{1,64}?) ?)?action: ?(?:([\w-]{1,64}):)?(\w{1,128}?) ?"
    r"on resource\(s\): ?(\S{1,600}?) ?context: ?",
    re.IGNORECASE,
)
CONSOLE_DENIES = re.compile(rf"context: ?(?:an? |the )?{POLICY} explicitly denies", re.IGNORECASE)
# KMS across accounts: the key, its absence and its policy are not told apart. The second is what it said before 2021.
HIDDEN = re.compile(
    r"resource does not exist in this region|does not exist in this region,? or you are not allowed", re.IGNORECASE
)
LAYERS = {
    "identity-based": "identity",
    "resource-based": "resource",
    "key": "resource",
    "role trust": "trust",
    "trust": "trust",
    "permissions": "boundary",
    "permission": "boundary",
    "session": "session",
    "sessions": "session",
    "service control": "scp",
    "resource control": "rcp",
    "vpc endpoint": "endpoint",
}
# --- the head: who may not do what on what -------------------------------------------------------------------

NOT_AUTHORIZED = re.compile(
    (
        r"not authorized to perform(?: the)?(?: following)?(?: actions?)?:? "
        r"?[\"'`]?([A-Za-z0-9-]{1,64}:[A-Za-z0-9_]{1,128}\*?|xxx)[\"'`]?(?: on (?:the )?resource:? "
        r"?[\"']?([^\s\"']{1,2048}))?"
    ),
    re.IGNORECASE,
)

# An event of CloudTrail, whole or in part (CloudTrail guide, "CloudTrail record contents").
TRAIL_SOURCE = re.compile(r"\"eventsource\": ?\"([\w-]{1,64})\.amazonaws", re.IGNORECASE)
TRAIL_NAME = re.compile(r"\"eventname\": ?\"(\w{1,128})\"", re.IGNORECASE)
# What `aws sts decode-authorization-message` prints.
DECODED = re.compile(r"\"allowed\": ?false", re.IGNORECASE)
DECODED_ACTION = re.compile(r"\"action\": ?\"([\w-]{1,64}:\w{1,128})\"", re.IGNORECASE)
DECODED_DENY = re.compile(r"\"explicitdeny\": ?true", re.IGNORECASE)
PRINCIPAL_ARN = re.compile(r"\"arn\": ?\"(arn:[^\"\s]{1,600})\"", re.IGNORECASE)

# The console: "You don't have permission to kms:Decrypt"; KMS: "You don't have the kms:TagResource permission that …".
LACKS = re.compile(
    r"(?:(?:don[\u2019']t|do not) have (?:the |permissions? to (?:perform )?)|access denied to )"
    r"[\"'`]?([a-z0-9-]{2,64}:[a-z]{2,128})",
    re.IGNORECASE,
)

# --- the wrapping: codes and operation -----------------------------------------------------------------------

# Where a code stands in the wrappings of boto3 (also before 2016), Java, Go, XML and JSON;
# elsewhere only a word in camel case is one.
CODE_PLACES = re.compile(
    r"error \(([\w.]{2,80})\)|error code: ?([\w.]{2,80})|api error ([\w.]{2,80})|<code>([\w.]{2,80})</code>"
    r"|\"(?:__type|code|error_?code|errortype)\": ?\"(?:[\w.]{1,80}#)?([\w.]{2,80})|\b([a-z][\w.]{2,80}) \(client\)"
    r"|^([\w.]{2,80}): ",
    re.IGNORECASE,
)
CAMEL = re.compile(r"(?<![A-Za-z])(?:KMS\.)?(?:[A-Z]{1,8}[a-z0-9]{1,24}){2,8}(?![a-z0-9])")
CALLED = re.compile(
    r"when calling the (\w{2,80}) operation|occurred when calling the (\w{2,80}) operation"
    r"|operation error \w{2,40}: (\w{2,80})|(?:error executing|while calling|calling kms) [\"']?(\w{2,80})",
    re.IGNORECASE,
)
WRAPPED_KMS = re.compile(
    (
        r"service: ?\"?(?:awskms|kms)\b|aws kms|kms key|\bkms\.amazonaws|\barn:aws[a-z-]{0,12}:kms:|\bkms exception"
        r"|\bkms message|awskmsexception"
    ),
    re.IGNORECASE,
)
WRAPPED_STS = re.compile(
    r"service: ?\"?(?:awssecuritytokenservice|sts)\b|\bsts\.[\w.-]{0,40}amazonaws|securitytoken\.model|\bsts::errors",
    re.IGNORECASE,
)
FURNITURE = " \t│|>"  # what Terraform, tables and mails put around the lines of a message


@dataclass(frozen=True, slots=True)
class Denial:
    """What an AccessDenied says of itself.

    Args:
        layer: the kind of policy that decided (a value of `LAYERS`), "" when the words do not say.
        is_explicit: a Deny decided, not a missing Allow.
        is_hidden: the key in another account could not be looked at, so its policy may say anything.
    """

    layer: str = ""
    is_explicit: bool = False
    is_hidden: bool = False


@dataclass(frozen=True, slots=True)
class AwsError:
    """An AWS error, taken out of its wrapping.

    Args:
        codes: whatever may be a code, as it was spelled, the structured one first,
            then those in the text from the inside out.
        operation: what was called or, of a refusal, what was refused: "kms:Decrypt"; "" when nothing says.
        words: the text with its blanks folded.
        principal, action, resource: of a refusal; "" when the words leave them out.
        is_refusal: the words are those of a denial ("not authorized to perform", "explicit deny", "because no
            … policy allows").
        via: the layer that a Deny came through, when AWS names a second one.
        policy_arn: the policy that holds the Deny, where AWS names it.
    """

    codes: tuple[str, ...]
    operation: str
    words: str
    principal: str = ""
    action: str = ""
    resource: str = ""
    is_refusal: bool = False
    denial: Denial = field(default_factory=Denial)
    via: str = ""
    policy_arn: str = ""

    @property
    def bare_codes(self) -> tuple[str, ...]:
        return tuple(bare(code) for code in self.codes)

    @property
    def service(self) -> str:
        """The service whose answer this is: "kms", "sts", …; "" when nothing says."""
        return self.operation.partition(":")[0]


def fold(text: str) -> str:
    """Return the text on one line with single blanks, JSON's and XML's escapes resolved."""
    text = text.replace("\\n", "\n").replace("\\t", " ").replace('\\"', '"')
    lines = (line.strip(FURNITURE) for line in (html.unescape(text) if "&" in text else text).splitlines())
    return " ".join(" ".join(lines).split())


def denial_of(text: str) -> Denial:
    """Read the sentence of an AccessDenied."""
    words = fold(text)
    if HIDDEN.search(words):
        return Denial("resource", is_hidden=True)
    if found := EXPLICIT.search(words) or CONSOLE_DENIES.search(words):
        return Denial(_layer(found[1] or ""), is_explicit=True)
    if found := NO_ALLOW.search(words):
        return Denial(_layer(found[1]))
    return Denial(is_explicit=bool(DECODED.search(words) and DECODED_DENY.search(words)))


def _layer(words: str) -> str:
    kind = re.sub(r"\b(identity|resource) based\b", r"\1-based", words.lower())
    return LAYERS.get(kind.rsplit(" ", 1)[0].strip(), "") if kind else ""


def bare(code: str) -> str:
    """Return a code as the tables know it: without namespace,
    suffix and the "KMS" that other services put before KMS's codes."""
    name = code.rpartition("#")[2].lower().rpartition(".")[2]
    name = re.sub(r"(exception|error|fault)$", "", name)
    return name[3:] if name.startswith("kms") else name


def parse(message: str, *, operation: str = "", code: str = "") -> AwsError:
    """Take an error out of its wrapping.

    Args:
        message: the text as an SDK, a log or a person gives it.
        operation: what was called, where that is known from elsewhere:
            "kms:Decrypt", "AssumeRole", "s3:GetObject (KMS)".
        code: AWS's code, where that is known from elsewhere; it goes before those in the text.
    """
    words = fold(_unwrap(message))
    denial = denial_of(words)
    explicit = EXPLICIT.search(words)
    head = _head(words)
    called = [name for found in CALLED.findall(words) for name in found if name]
    return AwsError(
        codes=_codes(code, words),
        operation=_operation(head.action, operation, called, words, code),
        words=words,
        principal=head.principal,
        action=head.action,
        resource=head.resource,
        is_refusal=head.is_there or denial != Denial(),
        denial=denial,
        via=_layer(explicit[2] or "") if explicit else "",
        policy_arn=(explicit[3] or "").rstrip(".,;:)") if explicit else "",
    )


def _unwrap(message: str) -> str:
    """Return the members of a JSON error as one text ("CODE: message"); anything else as it is."""
    if not message.lstrip().startswith("{"):
        return message
    try:
        given = json.loads(message)
    except (ValueError, RecursionError):
        return message
    found = {str(key).lower(): value for key, value in given.items() if isinstance(value, str)}
    if "eventname" in found:
        return message
    code = next((found[key] for key in ("__type", "code", "errorcode", "errortype") if key in found), "")
    message_found = next((found[key] for key in ("message", "errormessage") if key in found), "")
    return f"{code.rpartition('#')[2]}: {message_found}" if code else message


def _codes(code: str, words: str) -> tuple[str, ...]:
    """Return every code once: the structured one, then those of the text, the innermost first."""
    in_text = [name for found in CODE_PLACES.findall(words) for name in found if name] + CAMEL.findall(words)
    names = [*([code] if code else []), *reversed(in_text[:200])]
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(bare(name), name)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Head:
    principal: str = ""
    action: str = ""
    resource: str = ""
    is_there: bool = False


def _head(words: str) -> _Head:
    """Return who was refused what on what."""
    if found := NOT_AUTHORIZED.search(words):
        action = found[1] if ":" in found[1] else ""
        return _Head(_principal(words), action, (found[2] or "").rstrip(".,;:)"), is_there=True)
    if found := CONSOLE.search(words):
        service = found[3] or found[2] or ""
        return _Head(found[1], f"{service}:{found[4]}" if service else "", found[5], is_there=True)
    if found := LACKS.search(words):
        return _Head(action=found[1], is_there=True)
    principal = PRINCIPAL_ARN.search(words)
    caller = principal[1] if principal else ""
    if DECODED.search(words) and (found := DECODED_ACTION.search(words)):
        return _Head(caller, found[1], is_there=True)
    return _Head(caller if TRAIL_NAME.search(words) else "")


def _principal(words: str) -> str:
    """Return who was refused: what stands before "is not authorized to perform"."""
    # AWS's own words; others leave out who was refused
    before, found, _ = words.partition(" is not authorized to perform")
    if not found:
        return ""
    before = before[-2100:]
    if before.endswith(">") and " <" in before:
        return before[before.rindex(" <") + 1 :]
    return before.rpartition(" ")[2].strip("\"'")


def _operation(action: str, given: str, called: list[str], words: str, code: str) -> str:
    if action:
        service, _, name = action.partition(":")
        return f"{service.lower()}:{name}"
    if not given and (event := TRAIL_NAME.search(words)) and (source := TRAIL_SOURCE.search(words)):
        return f"{source[1].lower()}:{event[1]}"
    service, colon, name = given.partition("(")[0].strip().partition(":")
    if not colon:
        service, name = SERVICES.get(service, ""), service
    if "(kms" in given.lower() or (code or "").lower().startswith("kms"):
        return f"kms:{name}"
    for candidate in (
        []
        if service
        else [*called, *(word for word in re.findall(r"\w{4,40}", words[:4000]) if word in STS_OPERATIONS)]
    ):
        if candidate in SERVICES:
            return f"{SERVICES[candidate]}:{candidate}"
    if not service and (found := "sts" if WRAPPED_STS.search(words) else "kms" if WRAPPED_KMS.search(words) else ""):
        return f"{found}:{name}"
    return f"{service}:{name}" if service else name
