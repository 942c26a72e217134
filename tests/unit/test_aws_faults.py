"""What AWS answers, or does not, and the one error of ours that it becomes."""

from __future__ import annotations

import logging

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from byokportal.errors import DomainError, Kind
from keys import errors
from keys.aws import faults

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def answer(code: str, message: str = "", *, status: int = 400) -> ClientError:
    """Return what botocore makes of an error that AWS answers with."""
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "RequestId": "req-1",
                "HTTPStatusCode": status,
                "HTTPHeaders": {},
                "RetryAttempts": 0,
                "HostId": "",
            },
        },
        "Operation",
    )


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("AccessDeniedException", "User: … is not authorized to perform: kms:Decrypt", errors.KeyAccessDenied),
        ("NotFoundException", f"Key '{KEY}' does not exist", errors.KeyNotFound),
        ("NotFoundException", "Invalid arn us-west-2", errors.KeyNotFound),
        ("InvalidArnException", "", errors.KeyNotFound),
        ("DisabledException", f"{KEY} is disabled.", errors.KeyDisabled),
        ("DisabledException", f"{KEY} is pending deletion.", errors.KeyPendingDeletion),
        ("KMSInvalidStateException", f"{KEY} is pending deletion.", errors.KeyPendingDeletion),
        ("KMSInvalidStateException", f"{KEY} is pending replica deletion.", errors.KeyPendingDeletion),
        ("KMSInvalidStateException", f"{KEY} is pending import.", errors.KeyPendingImport),
        ("KMSInvalidStateException", f"{KEY} is creating.", errors.AwsUnreachable),
        ("KMSInvalidStateException", "KMSInvalidStateException: <key ARN> is unavailable.", errors.AwsUnreachable),
        ("KMSInvalidStateException", "KMS cannot communicate with your CloudHSM cluster", errors.AwsUnreachable),
        (
            "KMSInvalidStateException",
            "… because the external key store proxy did not respond in time. …",
            errors.AwsUnreachable,
        ),
        (
            "KMSInvalidStateException",
            "AWS KMS cannot establish a TLS connection to the external key store proxy. …",
            errors.AwsUnreachable,
        ),
        ("KMSInternalException", "AWS KMS cannot communicate with the external key store proxy", errors.AwsUnreachable),
        (
            "KMSInvalidStateException",
            (
                "The ciphertext that the external key store proxy submitted for decryption, or the encryption context, "
                "is corrupted, missing, …"
            ),
            errors.CiphertextInvalid,
        ),
        (
            "KMSInvalidStateException",
            "… because the external key is not enabled in the external key manager.",
            errors.KeyUnusable,
        ),
        ("KMSInvalidStateException", "", errors.KeyUnusable),
        (
            "InvalidKeyUsageException",
            f"{KEY} key usage is SIGN_VERIFY which is not valid for Encrypt.",
            errors.KeyUnusable,
        ),
        ("UnsupportedOperationException", "", errors.KeyUnusable),
        ("InvalidCiphertextException", "", errors.CiphertextInvalid),
        ("IncorrectKeyException", "", errors.WrongKeyAnswered),
        ("KeyUnavailableException", "", errors.AwsUnreachable),
        ("DependencyTimeoutException", "", errors.AwsUnreachable),
        ("KMSInternalException", "", errors.AwsUnreachable),
        ("ThrottlingException", "Rate exceeded", errors.AwsThrottled),
        ("ExpiredTokenException", "", errors.OwnAccessBroken),
        ("UnrecognizedClientException", "", errors.OwnAccessBroken),
        ("InvalidSignatureException", "Signature expired: …", errors.OwnAccessBroken),
        ("ValidationException", "1 validation error detected: …", errors.AwsSurprise),
    ],
)
def test_what_kms_answers(code: str, message: str, expected: type[DomainError]) -> None:
    error = faults.translate(answer(code, message), "kms:Decrypt")
    assert type(error) is expected
    assert error.params == {"aws_code": code, "action": "kms:Decrypt", "aws_request_id": "req-1"}


@pytest.mark.parametrize(
    ("code", "status", "denied", "expected"),
    [
        ("AccessDenied", 403, errors.RoleNotAssumable, errors.RoleNotAssumable),  # on the tenant's role
        ("AccessDenied", 403, errors.OwnAccessBroken, errors.OwnAccessBroken),  # on ours
        ("Throttling", 400, errors.RoleNotAssumable, errors.AwsThrottled),
        ("InvalidClientTokenId", 403, errors.RoleNotAssumable, errors.OwnAccessBroken),
        ("ExpiredToken", 403, errors.RoleNotAssumable, errors.OwnAccessBroken),
        ("SignatureDoesNotMatch", 403, errors.RoleNotAssumable, errors.OwnAccessBroken),
        ("RegionDisabledException", 403, errors.RoleNotAssumable, errors.OwnAccessBroken),
        ("PackedPolicyTooLarge", 400, errors.RoleNotAssumable, errors.OwnAccessBroken),
        ("ServiceUnavailable", 503, errors.RoleNotAssumable, errors.AwsUnreachable),
        ("SomethingNew", 503, errors.RoleNotAssumable, errors.AwsUnreachable),
        ("ValidationError", 400, errors.RoleNotAssumable, errors.AwsSurprise),
    ],
)
def test_what_sts_answers(code: str, status: int, denied: type[DomainError], expected: type[DomainError]) -> None:
    assert type(faults.translate(answer(code, status=status), "sts:AssumeRole", denied=denied)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Throttling", errors.AwsThrottled),
        ("ConcurrentModification", errors.AwsUnreachable),
        ("EntityTemporarilyUnmodifiable", errors.AwsUnreachable),
        ("AccessDenied", errors.OwnAccessBroken),
        ("LimitExceeded", errors.AwsSurprise),  # a quota, not a rate: trying again would not help, a person has to look
    ],
)
def test_what_iam_answers(code: str, expected: type[DomainError]) -> None:
    assert type(faults.translate(answer(code), "iam:CreatePolicyVersion", denied=errors.OwnAccessBroken)) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ConnectTimeoutError(endpoint_url="https://kms"), errors.AwsUnreachable),
        (exceptions.ReadTimeoutError(endpoint_url="https://kms"), errors.AwsUnreachable),
        (exceptions.EndpointConnectionError(endpoint_url="https://kms"), errors.AwsUnreachable),
        (exceptions.ConnectionClosedError(endpoint_url="https://kms"), errors.AwsUnreachable),
        (exceptions.SSLError(endpoint_url="https://kms", error="x"), errors.AwsUnreachable),
        (ResponseParserError("<html>"), errors.AwsUnreachable),
        (exceptions.NoCredentialsError(), errors.OwnAccessBroken),
        (exceptions.ProfileNotFound(profile="x"), errors.OwnAccessBroken),
        (exceptions.CredentialRetrievalError(provider="x", error_msg="x"), errors.OwnAccessBroken),
        (exceptions.ParamValidationError(report="x"), errors.AwsSurprise),  # a bug of ours, no fault of AWS's
    ],
)
def test_what_never_reached_aws(error: Exception, expected: type[DomainError]) -> None:
    ours = faults.translate(error, "kms:Decrypt")
    assert type(ours) is expected
    assert ours.params["aws_code"] == type(error).__name__
    assert ours.params["aws_request_id"] == ""


def test_an_answer_that_no_table_has_is_logged_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="keys.aws.faults"):
        faults.translate(answer("BrandNewException", "a sentence of AWS"), "kms:Decrypt")
    assert "BrandNewException" in caplog.text
    assert "a sentence of AWS" not in caplog.text


def test_the_sentence_of_aws_is_in_no_param_but_can_be_read_from_the_cause() -> None:
    said = answer("AccessDeniedException", "User: arn:aws:sts::111122223333:assumed-role/x is not authorized")
    with pytest.raises(DomainError) as raised:
        raise faults.translate(said, "kms:Encrypt") from said
    assert "not authorized" not in str(raised.value) + repr(raised.value.params)
    assert "not authorized" in faults.aws_message_of(raised.value)


def test_what_may_be_tried_again_says_when() -> None:
    for error in {*faults.ANYWHERE.values(), *faults.KMS.values(), *faults.IAM.values()}:
        code = next(
            code for table in (faults.ANYWHERE, faults.KMS, faults.IAM) for code in table if table[code] is error
        )
        made = faults.translate(answer(code), "iam:GetPolicy" if code in faults.IAM else "kms:Decrypt")
        assert (made.retry_after is not None) == (error.kind is Kind.UNAVAILABLE)


@pytest.mark.parametrize("odd", ["Half\ud800", "NUL\0", "two\nlines", "x" * 129, "", "größe"])
def test_a_code_that_is_no_code_of_aws_is_an_unknown_one(odd: str) -> None:
    said = answer(odd)
    said.response["ResponseMetadata"]["RequestId"] = odd
    made = faults.translate(said, "kms:Decrypt")
    assert (made.kind, made.params["aws_code"], made.params["aws_request_id"]) == (Kind.UPSTREAM, "Unknown", "")
