"""What botocore raises → our errors: one table (docs/problems.md; aws-error-causes.md, section 1)."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from byokportal.errors import DomainError
from keys import errors

log = logging.getLogger(__name__)

THROTTLED = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException",
    "RequestLimitExceeded", "LimitExceededException", "SlowDown", "PriorRequestNotComplete",
}  # fmt: skip
OURS = {
    "InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException", "SignatureDoesNotMatch",
    "InvalidSignatureException", "IncompleteSignature", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "RequestExpired",
    "OptInRequired", "RegionDisabledException", "PackedPolicyTooLarge",
}  # fmt: skip
UNREACHABLE = {
    "ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalServerError", "InternalError", "InternalErrorException",
    "KMSInternalException", "DependencyTimeoutException", "KeyUnavailableException", "RequestTimeout", "RequestTimeoutException",
}  # fmt: skip
KMS: dict[str, type[DomainError]] = {
    "AccessDeniedException": errors.KeyAccessDenied,
    "AccessDenied": errors.KeyAccessDenied,
    "NotFoundException": errors.KeyNotFound,
    "InvalidArnException": errors.KeyNotFound,
    "DisabledException": errors.KeyDisabled,
    "KMSInvalidStateException": errors.KeyUnusable,
    "InvalidCiphertextException": errors.CiphertextInvalid,
    "IncorrectKeyException": errors.WrongKeyAnswered,
    "InvalidKeyUsageException": errors.KeyUnusable,
    "UnsupportedOperationException": errors.KeyUnusable,
    "ValidationException": errors.KeyUnusable,
}


def code_of(error: Exception) -> str:
    """Return AWS's error code, or the name of the transport failure."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def request_id_of(error: Exception) -> str:
    """Return AWS's request id, "" when no answer came."""
    if isinstance(error, ClientError):
        return str(error.response.get("ResponseMetadata", {}).get("RequestId", ""))
    return ""


def words_of(error: DomainError) -> str:
    """Return the sentence that AWS gave with a refusal, for reading causes out of it; it is stored and shown nowhere."""
    answer = error.__cause__
    return str(answer.response.get("Error", {}).get("Message", "")) if isinstance(answer, ClientError) else ""


def translate(error: Exception, action: str, *, denied: type[DomainError] | None = None) -> DomainError:
    """Return our error for what a call raised.

    Args:
        action: what was called, "kms:Decrypt".
        denied: the class of an AccessDenied outside KMS: whose refusal that is, the caller knows.
    """
    code = code_of(error)
    params: dict[str, Any] = {"aws_code": code, "action": action, "aws_request_id": request_id_of(error)}
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return errors.OwnAccessBroken(retry_after=30, **params)
    if isinstance(error, BotoCoreError):
        return errors.AwsUnreachable(retry_after=5, **params)
    assert isinstance(error, ClientError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    if code in THROTTLED:
        return errors.AwsThrottled(retry_after=5, **params)
    if code in OURS:
        return errors.OwnAccessBroken(retry_after=30, **params)
    if code in UNREACHABLE or status >= 500:
        return errors.AwsUnreachable(retry_after=5, **params)
    if action.startswith("kms:") and code in KMS:
        # The state stands in the sentence, under either code (KMS guide, "Key states of KMS keys", notes 2 and 3).
        if code in {"KMSInvalidStateException", "DisabledException"}:
            if "pending deletion" in message or "pending replica deletion" in message:
                return errors.KeyPendingDeletion(**params)
            if "pending import" in message:
                return errors.KeyPendingImport(**params)
            if "is creating" in message or "is updating" in message or "unavailable" in message:
                return errors.AwsUnreachable(retry_after=5, **params)
        return KMS[code](**params)
    if code in {"AccessDenied", "AccessDeniedException"} and denied is not None:
        return denied(**({"retry_after": 30} if denied.retryable else {}), **params)
    log.error("unmapped AWS code %s for %s", code, action)  # a line is missing in our table
    return errors.AwsSurprise(**params)
