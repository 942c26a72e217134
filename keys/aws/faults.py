"""What botocore raises → our errors: one table (docs/problems.md; aws-error-causes.md, section 1)."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import OperationModel
from botocore.parsers import ResponseParserError

from byokportal.errors import DomainError
from keys import errors

log = logging.getLogger(__name__)

PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}", re.ASCII)
RAISED = (ClientError, BotoCoreError, ResponseParserError)  # all that a call through botocore may raise

# Codes that mean the same whoever answers.
ANYWHERE: dict[str, type[DomainError]] = {
    code: error
    for error, codes in {
        errors.AwsThrottled: (  # STS and KMS say so with HTTP 400
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "SlowDown",
            "PriorRequestNotComplete",
        ),
        errors.OwnAccessBroken: (  # our credentials, our clock, our request
            "InvalidClientTokenId",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
            "ExpiredToken",
            "ExpiredTokenException",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "IncompleteSignatureException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "RequestExpired",
            "OptInRequired",
            "RegionDisabledException",
            "PackedPolicyTooLarge",
        ),
        errors.AwsUnreachable: (
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "InternalFailure",
            "InternalServerError",
            "InternalError",
            "InternalErrorException",
            "RequestTimeout",
            "RequestTimeoutException",
        ),
    }.items()
    for code in codes
}
KMS: dict[str, type[DomainError]] = {
    "AccessDeniedException": errors.KeyAccessDenied,
    "AccessDenied": errors.KeyAccessDenied,
    "NotFoundException": errors.KeyNotFound,
    "InvalidArnException": errors.KeyNotFound,
    "DisabledException": errors.KeyDisabled,
    "KMSInvalidStateException": errors.KeyUnusable,
    "InvalidKeyUsageException": errors.KeyUnusable,
    "UnsupportedOperationException": errors.KeyUnusable,
    "InvalidCiphertextException": errors.CiphertextInvalid,
    "IncorrectKeyException": errors.WrongKeyAnswered,
    "KeyUnavailableException": errors.AwsUnreachable,
    "KMSInternalException": errors.AwsUnreachable,
    "DependencyTimeoutException": errors.AwsUnreachable,
}
IAM: dict[str, type[DomainError]] = {  # somebody else changes the same thing: IAM says, try again
    "ConcurrentModification": errors.AwsUnreachable,
    "EntityTemporarilyUnmodifiable": errors.AwsUnreachable,
    "ServiceFailure": errors.AwsUnreachable,
}
# The codes that we know.
KNOWN = frozenset({*ANYWHERE, *KMS, *IAM, "AccessDenied", "AccessDeniedException", "NoSuchEntity", "LimitExceeded"})
# The state stands in the sentence, under either code (KMS guide, "Key states of KMS keys", notes 2 and 3;
# for the external key stores "Troubleshooting external key stores"). The first phrase that is found decides.
STATE_CODES = {"DisabledException", "KMSInvalidStateException", "KMSInternalException"}
STATES: tuple[tuple[str, type[DomainError]], ...] = (
    ("pending deletion", errors.KeyPendingDeletion),
    ("pending replica deletion", errors.KeyPendingDeletion),
    ("pending import", errors.KeyPendingImport),
    ("is creating", errors.AwsUnreachable),
    ("is updating", errors.AwsUnreachable),
    ("is unavailable", errors.AwsUnreachable),  # a custom key store that is not connected
    ("cannot communicate", errors.AwsUnreachable),
    ("did not respond in time", errors.AwsUnreachable),
    ("cannot establish a tls connection", errors.AwsUnreachable),
    ("cannot interpret the response", errors.AwsUnreachable),
    ("or the encryption context, is corrupted", errors.CiphertextInvalid),
)
# No answer came back, or none that can be read.
SILENCE = (
    exceptions.HTTPClientError,
    exceptions.ConnectionError,
    exceptions.IncompleteReadError,
    exceptions.ChecksumError,
    ResponseParserError,
)
# The environment gives us no usable credentials, or not where to use them.
NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.NoAuthTokenError,
    exceptions.TokenRetrievalError,
    exceptions.MetadataRetrievalError,
    exceptions.SSOError,
    exceptions.LoginError,
    exceptions.ProfileNotFound,
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.InvalidConfigError,
    exceptions.NoRegionError,
)
RETRY_AFTER: dict[type[DomainError], int] = {  # seconds
    errors.AwsThrottled: 5,
    errors.AwsUnreachable: 5,
    errors.OwnAccessBroken: 30,
}


def code_of(error: Exception) -> str:
    """Return AWS's error code, or the name of the transport failure."""
    if isinstance(error, ClientError):
        return _ascii(error.response.get("Error", {}).get("Code", "")) or "Unknown"
    return type(error).__name__


def known(code: str) -> str:
    """Return a code of AWS's that we know, "other" for the rest."""
    return code if code in KNOWN else "other"


def code_for_metrics(error: Exception) -> str:
    """Return AWS's code where we know it, else "other": what a stranger sends must not become a label of its own."""
    if isinstance(error, ClientError):
        return known(code_of(error))
    return type(error).__name__


def request_id_of(error: Exception) -> str:
    """Return AWS's request id, "" when no answer came."""
    return request_id_in(error.response) if isinstance(error, ClientError) else ""


def request_id_in(answer: Any) -> str:
    """Return AWS's request id of an answer, "" when it has none."""
    return _ascii(answer.get("ResponseMetadata", {}).get("RequestId", ""))


def _ascii(value: object) -> str:
    """Return what AWS only ever sends as short printable ASCII, "" when it is anything else:
    half a surrogate pair fits no answer and no row."""
    text = str(value)
    return text if PRINTABLE.fullmatch(text) else ""


def refuse_pages(status: int, body: bytes, operation: OperationModel) -> None:
    """Let the page of a proxy, or half an answer of KMS's, count as no answer;
    botocore takes it for one without members, or trips.

    Raises:
        ResponseParserError: an answer with members is due, and this is none.
    """
    shape = operation.output_shape
    if status >= 300 or shape is None or not shape.members:
        return
    wrapper = shape.serialization.get("resultWrapper")  # of the query protocol; XML that is cut is told by its parser
    try:
        is_answer = f"<{wrapper}>".encode() in body if wrapper else isinstance(json.loads(body), dict)
    except ValueError:
        is_answer = False
    if not is_answer:
        raise ResponseParserError(f"{operation.name} got no answer that can be read")


def aws_message_of(error: DomainError) -> str:
    """Return the sentence that AWS gave with a refusal, for reading causes out of it;
    it is stored and shown nowhere."""
    answer = error.__cause__
    return _message(answer) if isinstance(answer, ClientError) else ""


def translate(error: Exception, action: str, *, denied: type[DomainError] | None = None) -> DomainError:
    """Return our error for what a call raised; AWS's sentence goes into none of its params.

    Args:
        error: one of `RAISED`.
        action: what was called, "kms:Decrypt".
        denied: the class of an AccessDenied outside KMS: whose refusal that is, the caller knows.
    """
    found = _class_of(error, action.partition(":")[0], denied)
    if found is None:
        log.error("unmapped_aws_fault %s for %s, request %s", code_of(error), action, request_id_of(error))
        found = errors.AwsSurprise
    params: dict[str, Any] = {"aws_code": code_of(error), "action": action, "aws_request_id": request_id_of(error)}
    return found(retry_after=RETRY_AFTER.get(found), **params)


def _class_of(error: Exception, service: str, denied: type[DomainError] | None) -> type[DomainError] | None:
    """Return what a fault means; None when no table has it."""
    if isinstance(error, SILENCE):
        return errors.AwsUnreachable
    if isinstance(error, NO_CREDENTIALS):
        return errors.OwnAccessBroken
    if not isinstance(error, ClientError):
        return None
    code = code_of(error)
    if service == "kms":
        if code in STATE_CODES:
            message = _message(error).lower()
            for phrase, meaning in STATES:
                if phrase in message:
                    return meaning
        if code in KMS:
            return KMS[code]
    elif service == "iam" and code in IAM:
        return IAM[code]
    if code in ANYWHERE:
        return ANYWHERE[code]
    if code in {"AccessDenied", "AccessDeniedException"} and denied is not None:
        return denied
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return errors.AwsUnreachable if status >= 500 else None


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))
