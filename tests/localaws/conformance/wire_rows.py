"""The wire: signatures, clocks, tokens and trails."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import requests

from tests.localaws.conformance.rows import IAM, KMS, TRAIL_API, allowed, refused
from tests.localaws.conformance.world import REGION, World, allow, deny, policy, trusting

SIGNING = IAM + "reference_sigv-troubleshooting.html"
COMMON = "https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"
TRAIL = KMS + "logging-using-cloudtrail.html"
KINDS = ("sts", "iam", "kms")
CALLS: dict[str, Any] = {
    "sts": lambda client: client.get_caller_identity(),
    "iam": lambda client: client.list_roles(MaxItems=1),
    "kms": lambda client: client.list_keys(Limit=1),
}


def _keys(w: World) -> dict[str, str]:
    frozen = w.sessions[w.theirs].get_credentials().get_frozen_credentials()
    return {
        "AccessKeyId": frozen.access_key,
        "SecretAccessKey": frozen.secret_key,
        **({"SessionToken": frozen.token} if frozen.token else {}),
    }


def _codes(service: str, query: str, json_: str) -> tuple[str, int]:
    return (json_, 400) if service == "kms" else (query, 403)


def _credential_rows(service: str) -> None:
    call = CALLS[service]

    @refused(
        SIGNING,
        *_codes(service, "SignatureDoesNotMatch", "InvalidSignatureException"),
        "The request signature we calculated does not match",
        name=f"{service}: another secret",
    )
    def another_secret(w: World) -> None:
        call(w.client({**_keys(w), "SecretAccessKey": "another"}, service))

    @refused(
        COMMON,
        *_codes(service, "InvalidClientTokenId", "UnrecognizedClientException"),
        message="The security token included in the request is invalid.",
        name=f"{service}: an unknown access key",
    )
    def unknown_key(w: World) -> None:
        call(w.client({**_keys(w), "AccessKeyId": "AKIAIOSFODNN7EXAMPLE"}, service))

    @refused(
        COMMON,
        *_codes(service, "InvalidClientTokenId", "UnrecognizedClientException"),
        name=f"{service}: a session without its token",
    )
    def without_token(w: World) -> None:
        _, session = w.insider(allow("*"))
        call(w.client({**session, "SessionToken": None}, service))  # type: ignore[dict-item]

    @refused(
        COMMON,
        *_codes(service, "InvalidClientTokenId", "UnrecognizedClientException"),
        name=f"{service}: a session with another token",
    )
    def another_token(w: World) -> None:
        _, session = w.insider(allow("*"))
        _, other = w.insider(allow("*"))
        call(w.client({**session, "SessionToken": other["SessionToken"]}, service))

    @refused(
        COMMON,
        *_codes(service, "ExpiredToken", "ExpiredTokenException"),
        message="The security token included in the request is expired",
        local=True,
        name=f"{service}: an expired session",
    )
    def expired(w: World) -> None:
        assert w.local
        _, session = w.insider(allow("*"))
        w.local.set_fault("clock", 4_000)
        call(w.client(session, service))

    minutes = 5 if service == "kms" else 15
    for words, seconds in (
        ("Signature expired: ", minutes * 60 + 20),
        ("Signature not yet current: ", -(minutes * 60 + 20)),
    ):

        @refused(
            SIGNING,
            *_codes(service, "SignatureDoesNotMatch", "InvalidSignatureException"),
            words,
            local=True,
            name=f"{service}: a clock that is {-seconds} seconds off",
        )
        def skewed(w: World, seconds: int = seconds) -> None:
            assert w.local
            w.local.set_fault("clock", seconds)
            call(w.client(w.theirs, service))

    @allowed(SIGNING, local=True, name=f"{service}: a clock that is almost {minutes} minutes off")
    def almost(w: World) -> None:
        assert w.local
        w.local.set_fault("clock", minutes * 60 - 20)
        call(w.client(w.theirs, service))


for _kind in KINDS:
    _credential_rows(_kind)


def _raw(
    w: World,
    service: str,
    *,
    scope: str = "",
    region: str = "",
    change: Any = None,
    body: str = "",
    target: str = "TrentService.ListKeys",
) -> requests.Response:
    """Sign a call by hand, change it, and send it; an error is raised as the row wants it."""
    region = region or ("us-east-1" if service == "iam" else REGION)
    host = {"iam": "https://iam.amazonaws.com/"}.get(service, f"https://{service}.{REGION}.amazonaws.com/")
    headers = (
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target}
        if service == "kms"
        else {"Content-Type": "application/x-www-form-urlencoded"}
    )
    body = (
        body
        or {
            "kms": "{}",
            "sts": "Action=GetCallerIdentity&Version=2011-06-15",
            "iam": "Action=ListRoles&Version=2010-05-08",
        }[service]
    )
    request = botocore.awsrequest.AWSRequest(
        "POST", (w.endpoint or host).rstrip("/") + "/", data=body.encode(), headers=headers
    )
    keys = _keys(w)
    botocore.auth.SigV4Auth(
        botocore.credentials.Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys.get("SessionToken")),
        scope or service,
        region,
    ).add_auth(request)
    if change:
        change(request)
    answer = requests.post(request.url, data=request.data, headers=dict(request.headers), timeout=10)
    if answer.status_code >= 400:
        raise RawRefusal(answer)
    return answer


class RawRefusal(Exception):
    """An error answer on the wire, read as a client reads it."""

    def __init__(self, answer: requests.Response) -> None:
        text, code, message = answer.text, "", ""
        if text.startswith("{"):
            found = json.loads(text)
            code, message = found["__type"].rpartition("#")[2], found.get("message", found.get("Message", ""))
        elif "<Code>" in text:
            code = text.partition("<Code>")[2].partition("</Code>")[0]
            message = text.partition("<Message>")[2].partition("</Message>")[0].replace("&apos;", "'")
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": answer.status_code},
        }
        super().__init__(f"{answer.status_code} {code}: {message}")


def _raw_rows(service: str) -> None:
    mismatch = _codes(service, "SignatureDoesNotMatch", "InvalidSignatureException")

    @allowed(SIGNING, name=f"{service}: signed by hand")
    def plain(w: World) -> None:
        _raw(w, service)

    @refused(
        COMMON,
        *_codes(service, "MissingAuthenticationToken", "MissingAuthenticationTokenException"),
        name=f"{service}: not signed",
    )
    def unsigned(w: World) -> None:
        _raw(w, service, change=lambda request: request.headers.__delitem__("Authorization"))

    @refused(SIGNING, *mismatch, name=f"{service}: another body than was signed")
    def another_body(w: World) -> None:
        _raw(w, service, change=lambda request: setattr(request, "data", request.data + b" "))

    @refused(
        SIGNING,
        *mismatch,
        "Credential should be scoped to correct service",
        name=f"{service}: signed for another service",
    )
    def another_service(w: World) -> None:
        _raw(w, service, scope="s3")

    @refused(
        SIGNING,
        *mismatch,
        "Credential should be scoped to a valid region",
        name=f"{service}: signed for a Region that there is not",
    )
    def another_region(w: World) -> None:
        _raw(w, service, region="eu-nowhere-9")

    @refused(SIGNING, *mismatch, name=f"{service}: another date than was signed")
    def another_date(w: World) -> None:
        def change(request: Any) -> None:
            at = datetime.now(UTC) - timedelta(seconds=60)
            request.headers.replace_header("X-Amz-Date", at.strftime("%Y%m%dT%H%M%SZ"))

        _raw(w, service, change=change)


for _kind in KINDS:
    _raw_rows(_kind)


@refused(SIGNING, "InvalidSignatureException", 400)
def kms_another_operation_than_was_signed(w: World) -> None:
    def change(request: Any) -> None:
        request.headers.replace_header("X-Amz-Target", "TrentService.ListAliases")

    _raw(w, "kms", change=change)


@refused(COMMON, "SerializationException", 400, local=True)
def kms_a_body_that_is_no_json(w: World) -> None:
    _raw(w, "kms", body="{")


@refused(COMMON, "SerializationException", 400)
def kms_a_parameter_of_another_type(w: World) -> None:
    _raw(w, "kms", body='{"Limit": "many"}')


# --- CloudTrail -------------------------------------------------------------------------------------------------------


def _events(w: World, account: str, name: str, region: str = REGION) -> list[dict[str, Any]]:
    found = w.client(account, "cloudtrail", region).lookup_events(
        LookupAttributes=[{"AttributeKey": "EventName", "AttributeValue": name}]
    )["Events"]
    return [json.loads(event["CloudTrailEvent"]) for event in found]


@allowed(TRAIL, local=True)
def the_trail_shows_context_and_session(w: World) -> None:
    arn, session = w.us()
    role = w.role(w.theirs, policy(trusting(arn)), allow("kms:*"))
    inner = w.session(session, role, RoleSessionName="byok-test-t1", ExternalId="x" * 10)
    key = w.key(w.theirs)
    w.client(inner, "kms").encrypt(KeyId=key, Plaintext=b"never to be seen", EncryptionContext={"tenant": "t1"})
    event = _events(w, w.theirs, "Encrypt")[0]
    assert event["requestParameters"]["encryptionContext"] == {"tenant": "t1"}
    assert event["userIdentity"]["arn"].endswith("/byok-test-t1")
    assert event["resources"][0]["ARN"] == key
    for form in ("never to be seen", base64.b64encode(b"never to be seen").decode()):
        assert form not in json.dumps(event)
    assumed = [e for e in _events(w, w.theirs, "AssumeRole") if e["requestParameters"]["roleArn"] == role]
    assert assumed[0]["requestParameters"]["externalId"] == "x" * 10
    assert assumed[0]["sharedEventID"] in {e.get("sharedEventID") for e in _events(w, w.ours, "AssumeRole")}


@allowed(TRAIL, local=True)
def the_trail_shows_a_refusal_to_the_caller_alone(w: World) -> None:
    _, session = w.us()
    try:
        w.session(session, f"arn:aws:iam::{w.theirs}:role/nobody")
    except w.client(session, "sts").exceptions.ClientError:
        pass
    assert _events(w, w.ours, "AssumeRole")[0]["errorCode"] == "AccessDenied"
    assert not [e for e in _events(w, w.theirs, "AssumeRole") if e.get("errorCode")]


@refused(TRAIL_API + "API_LookupEvents.html", "AccessDeniedException", 400)
def the_trail_is_not_for_everybody(w: World) -> None:
    _, session = w.insider(allow("*"), deny("cloudtrail:*"))
    w.client(session, "cloudtrail").lookup_events()


@refused(TRAIL_API + "API_LookupEvents.html", "InvalidLookupAttributesException", 400)
def the_trail_knows_its_attributes(w: World) -> None:
    w.client(w.theirs, "cloudtrail").lookup_events(LookupAttributes=[{"AttributeKey": "Smell", "AttributeValue": "x"}])
